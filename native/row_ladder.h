// Any number of rows against a range of panels, by tiles of the sizes that a kernel has code for.
//
// A kernel K says
//     K::Call                                what its tiles work on; call.rows is the number of rows
//     K::ROWS                                rows of its largest tile
//     K::panels_at_once(rows)                panels of a tile of so many rows
//     K::tile<ROWS, PANELS>(call, row, panel)
// Which tile computes an output only decides what is computed together.
#pragma once

#include "parallel.h"

namespace quire::QUIRE_NAMESPACE {

template <class K, int ROWS>
static void rows_of_panels(const typename K::Call& call, int64_t row, int64_t first, int64_t last) {
    constexpr int PANELS = K::panels_at_once(ROWS);
    int64_t panel = first;
    for (; panel + PANELS <= last; panel += PANELS) K::template tile<ROWS, PANELS>(call, row, panel);
    for (; panel < last; ++panel) K::template tile<ROWS, 1>(call, row, panel);
}

// The last 1 .. ROWS rows.
template <class K, int ROWS>
static void last_rows(const typename K::Call& call, int64_t row, int64_t first, int64_t last) {
    if constexpr (ROWS > 0) {
        if (call.rows - row == ROWS) return rows_of_panels<K, ROWS>(call, row, first, last);
        last_rows<K, ROWS - 1>(call, row, first, last);
    }
}

template <class K>
static void all_rows(const typename K::Call& call, int64_t first, int64_t last) {
    if (call.rows <= K::ROWS) return last_rows<K, K::ROWS>(call, 0, first, last);
    for (int64_t panel = first; panel < last; ++panel) {  // a panel stays in the cache for all rows
        int64_t row = 0;
        for (; row + K::ROWS <= call.rows; row += K::ROWS) K::template tile<K::ROWS, 1>(call, row, panel);
        last_rows<K, K::ROWS - 1>(call, row, panel, panel + 1);
    }
}

}  // namespace quire::QUIRE_NAMESPACE
