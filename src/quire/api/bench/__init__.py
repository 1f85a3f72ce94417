"""`quire bench`: measures servers, the engine, its kernels and its peers. Opening this door loads nothing else."""

from quire.api.bench.command import bench

__all__ = ["bench"]
