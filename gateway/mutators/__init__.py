"""What the backend sees: which of the client's header fields pass, and which the gateway sets itself."""
