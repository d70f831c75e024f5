"""Values and the ports they travel through: no I/O, no clock of its own, no third-party package."""
