"""Loading: a resolved configuration becomes a network with its weights in place."""

from quire.model.loading.load import build_network, drop_file_pages, load_model

__all__ = ["build_network", "drop_file_pages", "load_model"]
