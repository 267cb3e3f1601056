//! What is allocated, counted: nothing per frame in the steady state, and per connection what the
//! documentation of `deflate` states.
#![allow(
    unsafe_code,
    reason = "a counting allocator can only be written with it"
)]

use sockeye_websocket::deflate::{DeflateOptions, Deflater, deflated_frame};
use sockeye_websocket::handshake::{
    AcceptOptions, ClientHandshake, ClientOptions, accept, read_request,
};
use sockeye_websocket::{Event, Input, Limits, OpCode, Reader, Role, encode_into, frame, header};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn count(calls: usize, bytes: isize) {
    // Not counted while the thread ends and its cells are gone.
    let _ = CALLS.try_with(|cell| cell.set(cell.get() + calls));
    let _ = LIVE.try_with(|cell| cell.set(cell.get() + bytes));
}

// SAFETY: each method passes its arguments unchanged to the system allocator, whose contract is
// the same, and returns what it returned. The counters are thread-local cells of plain numbers
// without destructors, so counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations made by `f` on this thread.
fn allocations(f: impl FnOnce()) -> usize {
    let before = CALLS.get();
    f();
    CALLS.get() - before
}

/// Bytes that `f` leaves allocated on this thread, with its result.
fn retained<T>(f: impl FnOnce() -> T) -> (T, isize) {
    let before = LIVE.get();
    let result = f();
    (result, LIVE.get() - before)
}

fn agreed(options: DeflateOptions) -> sockeye_websocket::deflate::Agreed {
    let ask = ClientOptions {
        deflate: Some(options),
        ..ClientOptions::default()
    };
    let client = ClientHandshake::new("h", "/", &ask).unwrap();
    let (request, _) = read_request(client.request()).unwrap().unwrap();
    let offer = AcceptOptions {
        deflate: Some(options),
        ..AcceptOptions::default()
    };
    let (method, headers) = (request.method(), request.headers());
    accept(method, request.version(), headers, &offer)
        .unwrap()
        .deflate()
        .unwrap()
}

/// The heart of an echo: read whole frames in place, write into a buffer that is reused.
#[test]
fn whole_frames_cost_no_allocation() {
    let mut wire = Vec::new();
    for len in [0, 5, 125, 126, 4000, 65_536] {
        encode_into(
            &mut wire,
            OpCode::Text,
            true,
            false,
            Some([1, 2, 3, 4]),
            &vec![b'x'; len],
        );
        encode_into(
            &mut wire,
            OpCode::Binary,
            true,
            false,
            Some([4; 4]),
            &vec![0xFF; len],
        );
    }
    encode_into(&mut wire, OpCode::Ping, true, false, Some([9; 4]), b"ping");
    encode_into(&mut wire, OpCode::Pong, true, false, Some([9; 4]), b"");
    let (mut buffer, mut out) = (wire.clone(), Vec::with_capacity(2 * wire.len()));
    let (mut reader, limits) = (Reader::new(Role::Server, None), Limits::default());
    let mut events = 0;
    let count = allocations(|| {
        for _ in 0..10 {
            buffer.copy_from_slice(&wire);
            out.clear();
            let mut input = Input::new(&mut buffer);
            while let Some(event) = reader.next(&limits, &mut input).unwrap() {
                events += 1;
                match event {
                    Event::Text(text) => {
                        encode_into(&mut out, OpCode::Text, true, false, None, text.as_bytes());
                    }
                    Event::Ping(bytes) => {
                        encode_into(&mut out, OpCode::Pong, true, false, None, &bytes);
                    }
                    Event::Binary(bytes) => {
                        black_box(header(OpCode::Binary, true, false, None, bytes.len()));
                    }
                    _ => {}
                }
            }
        }
    });
    assert_eq!((events, count), (140, 0));
}

/// A shared frame is one buffer; sharing it costs one counter, once.
#[test]
fn a_shared_frame_is_encoded_once() {
    let mut shared = Vec::with_capacity(1000);
    let count = allocations(|| {
        let frame = frame(OpCode::Text, b"to everyone");
        shared.extend((0..1000).map(|_| frame.clone()));
    });
    assert!(count <= 2, "{count}");
}

/// An idle reader owns nothing, also after it assembled something.
#[test]
fn idle_readers_own_nothing() {
    let (mut reader, limits) = (Reader::new(Role::Server, None), Limits::default());
    let mut wire = Vec::new();
    encode_into(
        &mut wire,
        OpCode::Text,
        false,
        false,
        Some([7; 4]),
        &[b'a'; 3000],
    );
    encode_into(
        &mut wire,
        OpCode::Continuation,
        true,
        false,
        Some([7; 4]),
        &[b'a'; 3000],
    );
    let ((), bytes) = retained(|| {
        for piece in wire.chunks_mut(100) {
            let mut input = Input::new(piece);
            while reader.next(&limits, &mut input).unwrap().is_some() {}
        }
    });
    assert_eq!(bytes, 0);
}

/// Without takeover neither direction keeps anything per connection once the pool is warm, and a
/// compressed message costs only its own memory.
#[test]
fn without_takeover_connections_own_no_window() {
    let options = DeflateOptions::default();
    let agreed = agreed(options);
    let message = "a message that repeats itself, ".repeat(100);
    let limits = Limits::default();
    let mut reader = Reader::new(Role::Client, Some(agreed));
    let mut deflater = Deflater::new(agreed, Role::Server, &options);
    let mut round = || {
        let mut bytes = Vec::with_capacity(4096);
        deflater.encode_into(&mut bytes, OpCode::Text, None, message.as_bytes());
        assert!(bytes.len() < 500);
        let mut input = Input::new(&mut bytes);
        assert!(reader.next(&limits, &mut input).unwrap().is_some());
    };
    round();
    let ((), bytes) = retained(|| (0..5).for_each(|_| round()));
    assert_eq!(bytes, 0);
    // The pool of the thread serves every further connection.
    let (_others, bytes) = retained(|| {
        let mut readers: Vec<_> = Vec::with_capacity(100);
        for _ in 0..100 {
            let mut reader = Reader::new(Role::Client, Some(agreed));
            let mut bytes = deflated_frame(OpCode::Text, message.as_bytes(), 15, 6).to_vec();
            reader.next(&limits, &mut Input::new(&mut bytes)).unwrap();
            readers.push(reader);
        }
        readers
    });
    assert!(bytes <= 100 * 32, "{bytes}");
}

/// The table in the documentation of `deflate`, with takeover.
#[test]
fn with_takeover_connections_own_what_is_documented() {
    const KIB: isize = 1024;
    let message = "a message that repeats itself, ".repeat(100);
    for (bits, documented) in [(15, 380 * KIB), (12, 265 * KIB), (9, 250 * KIB)] {
        let options = DeflateOptions {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: bits,
            ..DeflateOptions::default()
        };
        let agreed = agreed(options);
        let (mut deflater, nothing) = retained(|| Deflater::new(agreed, Role::Server, &options));
        assert_eq!(nothing, 0, "nothing before the first message");
        let mut wire = Vec::with_capacity(4096);
        // The thread's scratch buffer is made here, not counted below.
        drop(deflated_frame(OpCode::Text, message.as_bytes(), 11, 6));
        let ((), bytes) = retained(|| {
            deflater.encode_into(&mut wire, OpCode::Text, None, message.as_bytes());
        });
        assert!(bytes <= documented, "compressor {bits}: {bytes}");
        assert!(
            bytes > documented * 8 / 10,
            "the documented figure for {bits} is stale: {bytes}"
        );

        let limits = Limits::default();
        let mut reader = Reader::new(Role::Client, Some(agreed));
        let ((), bytes) = retained(|| {
            assert!(
                reader
                    .next(&limits, &mut Input::new(&mut wire))
                    .unwrap()
                    .is_some()
            );
        });
        assert!(bytes <= 48 * KIB, "inflater: {bytes}");
        assert!(bytes > 38 * KIB, "the documented figure is stale: {bytes}");
        assert_eq!(
            reader.memory(),
            48 * 1024,
            "and it is what the reader says of itself"
        );
    }
}
