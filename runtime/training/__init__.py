"""Phases in order: minibatches, watches, stopping, optimisers of their own, going on."""
