"""Phases in order: minibatches, watches, stopping, faults, going on."""
