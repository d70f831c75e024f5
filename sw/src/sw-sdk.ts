/** The service worker with the Firebase SDK: many times the size, and no dependency on the SDK's private record. */

import { createSession } from "./sdk/session";
import { start } from "./worker";

start(createSession);
