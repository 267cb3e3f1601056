//! Instructions of a message on its whole way through the library: from a socket, through a worker
//! and a handler, to sockets.
//!
//! A worker has a thread of its own, so callgrind cannot count inside of one function: it counts
//! the whole process. Each function runs twice, as `base` and as `more`, which does the same and
//! then something more; what counts is the difference. The clients are in it, with a few dozen
//! instructions for each message. System calls are not: callgrind does not see the kernel.

mod paths;

use gungraun::{Callgrind, EntryPoint, LibraryBenchmarkConfig, main};

use crate::paths::library;

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--fair-sched=yes"]).entry_point(EntryPoint::None));
    library_benchmark_groups = library
);
