"""Loading: a resolved configuration becomes a network with its weights in place."""

from quire.model.loading.load import build_network, load_model

__all__ = ["build_network", "load_model"]
