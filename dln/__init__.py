"""dln: networks written as equations, compiled and trained."""
