"""Providers that call the native library of `native/`."""
