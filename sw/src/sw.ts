/** The service worker, without the Firebase SDK. */

import { createSession } from "./session";
import { start } from "./worker";

start(createSession);
