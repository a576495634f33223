/*
** maph.hpp - maph in C++17: the interface of maph.h with owners, string_views and results.  Header
** only; link with -lmaph.
**
**     auto db = maph::maph::open("cache.maph", true);              // true: for reading only
**     if( !db ) throw std::runtime_error(maph::message());
**     if( auto value = db.get("hot_key") ) std::cout << *value;    // a view into the mapped file
**
** RESULTS.  Calls that can fail return a result<T>: it tests true and dereferences to what was
** asked for, or error() says why there is none. Stores, transactions, snapshots, cursors and feeds
** are their own results: they test true while they are open.  A call on one that is not answers
** error::misuse.  maph::message() is the sentence about the last failure of this thread.  Nothing
** throws, but for value() of a failed result, a range-for over entries that cannot be read to the
** end, and memory for a vector or path.  With -fno-exceptions these end the program, and say why.
**
** LIFETIME.  A view stays valid until refresh() or close() of its store (for one read through a
** snapshot or cursor: until that goes too, at least; of what a transaction itself wrote: until that
** is undone).  Closing is also what the destructor does, and moving another store into a store.  A
** store must outlive its transactions, snapshots, cursors and feeds.
**
** PARTS.  Include this header alone: it brings those of maph/ along.  They are result (what calls
** answer), entry (with conditions and outcomes), config, store, snapshot, cursor, changes,
** transaction and load; and for these keys (of get_many) and convert (between C and C++).
**
** THREADS.  As in maph.h: a store is for any thread at any time; the others are for one at a time;
** refresh, close and moving need it alone.
**
** maph.h comes along, its functions under their own names.  Its `maph` is called maph_handle here,
** because a namespace has the name: include this header and not maph.h.
*/
#ifndef MAPH_HPP
#define MAPH_HPP

#if __cplusplus < 201703L && (!defined(_MSVC_LANG) || _MSVC_LANG < 201703L)
#error "maph.hpp needs C++17 or newer: compile with -std=c++17"
#else

#if defined(MAPH_H)
#error "maph.h was included before maph.hpp: include maph.hpp alone, it brings maph.h along"
#endif
#define maph maph_handle
#include "maph.h"
#undef maph

#include "maph/result.hpp"
#include "maph/entry.hpp"
#include "maph/config.hpp"
#include "maph/snapshot.hpp"
#include "maph/cursor.hpp"
#include "maph/changes.hpp"
#include "maph/transaction.hpp"
#include "maph/load.hpp"
#include "maph/store.hpp"

#endif
#endif
