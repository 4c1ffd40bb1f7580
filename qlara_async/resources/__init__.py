"""The gateway's resources beside sending."""
