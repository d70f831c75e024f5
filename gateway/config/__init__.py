"""Configuration: one TOML dialect for file, environment and Python; unknown keys are errors."""
