"""`make reliability`: what happens to a real server under kills, hangs, overload and leaving callers, in figures."""
