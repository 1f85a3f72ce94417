"""One plan in, one result out: executors, the model runner, sampling."""
