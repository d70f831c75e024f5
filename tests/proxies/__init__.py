"""The gateway behind real proxies, each with its generated configuration unedited: ``make test-proxies``."""
