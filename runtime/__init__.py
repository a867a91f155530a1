"""Plan to numbers: data, devices, sessions, training."""
