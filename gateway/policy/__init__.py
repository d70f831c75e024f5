"""Judgements that operators tune: which route, whose network. Pure: no I/O, no clock of its own."""
