"""The same, and nobody who reads a token learns an address. By configuration: ``functions.sign_in_ip = "network"``."""

from __future__ import annotations

import os

from gateway.blocking import BlockingFunctions
from gateway.blocking.ready_made import track_sign_in_network

functions = BlockingFunctions("my-project")
functions.before_sign_in(track_sign_in_network(os.environ["NETWORK_CLAIM_KEY"].encode()))
