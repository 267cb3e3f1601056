//! What an idle connection owns in a shard, to the byte, and that nothing is left when it has gone.

use sockeye_counts::{Budget, Counting, Rig, live};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// One test alone: what other threads own would be counted too.
#[test]
fn an_idle_connection_in_a_shard() {
    const CLIENTS: usize = 10_000;
    // What is made once, for the first.
    let mut rig = Rig::with_clients(1);
    rig.reserve(2 * CLIENTS);
    let (before, blocks_before) = live();
    for _ in 0..CLIENTS {
        rig.connect();
    }
    let (full, blocks_full) = live();
    Budget {
        what: "bytes of a connection in a shard",
        expected: 401.1,
    }
    .check((full - before) as f64 / CLIENTS as f64);
    Budget {
        what: "blocks of ten connections in a shard",
        expected: 10.3,
    }
    .check((blocks_full - blocks_before) as f64 / CLIENTS as f64 * 10.0);

    rig.disconnect_all();
    let (after, _) = live();
    let left = after as f64 / (full - before) as f64;
    println!("left when all have gone: {after} bytes, {left:.3} of the full figure");
    assert!(
        left < 0.02,
        "{after} bytes are left of {full} when all have gone"
    );
}
