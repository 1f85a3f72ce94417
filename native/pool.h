// A pool of worker threads that share out the chunks of one call at a time.
#pragma once

#include <cstdint>

namespace quire {

using Body = void (*)(void* context, int64_t chunk);

// Calls body(context, chunk) for every chunk in 0 .. chunks-1, on the caller and on whichever workers are awake.
// Which thread takes which chunk is left open, so a chunk must not depend on the others.
void run_chunks(Body body, void* context, int64_t chunks);

// Between the two, workers without work do not go to sleep: calls are to follow each other closely.
void hold_workers();
void release_workers();

// Threads that compute, the caller included. Ends and starts workers as needed; not while a call is running.
void set_threads(int count);
int threads();

}  // namespace quire
