"""Who runs next, on which pages: scheduler, KV accounting, core loop, clients. Rooms are imported by name."""
