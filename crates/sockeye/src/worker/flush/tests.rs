//! Every way to write, held to the same promises over real connections.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::{Batch, Flush, Turns, Vectored};
use crate::worker::Link;

/// The ways that this system has, by name.
fn ways() -> Vec<(&'static str, Box<dyn Flush>)> {
    let mut ways: Vec<(_, Box<dyn Flush>)> = vec![("one by one", Box::new(Vectored))];
    #[cfg(target_os = "linux")]
    match super::ring::Ring::open(64) {
        // Small, so that a batch takes several submissions; however few write.
        Ok(ring) => ways.push(("io_uring", Box::new(super::Batched::from_one(ring)))),
        Err(error) => eprintln!("not tested: no io_uring here: {error}"),
    }
    ways
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Bytes of a kernel buffer, about: well below what the tests send.
const NARROW: usize = 16 << 10;

/// Connections with our end written through a link and theirs at hand. Inside a runtime.
struct Pairs(TcpListener);

impl Pairs {
    fn new() -> Pairs {
        Pairs(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    fn connect(&self) -> (Link, TcpStream) {
        let theirs = TcpStream::connect(self.0.local_addr().unwrap()).unwrap();
        let (ours, _) = self.0.accept().unwrap();
        theirs
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        ours.set_nonblocking(true).unwrap();
        ours.set_nodelay(true).unwrap();
        let ours = tokio::net::TcpStream::from_std(ours).unwrap();
        (Link::new(Some(ours.into_split().1)), theirs)
    }

    /// One whose kernel buffers hold little.
    fn connect_narrow(&self) -> (Link, TcpStream) {
        let (link, theirs) = self.connect();
        rustix::net::sockopt::set_socket_send_buffer_size(link.as_fd().unwrap(), NARROW).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&theirs, NARROW).unwrap();
        (link, theirs)
    }
}

/// Writes a batch, and checks that there is an outcome for each of it.
fn write(way: &mut dyn Flush, writes: &[(&Link, Vec<&[u8]>)]) -> Vec<io::Result<usize>> {
    let mut batch = Batch::with_capacity(writes.len());
    for (link, slices) in writes {
        batch.add_slices(link, slices.iter().copied());
    }
    let mut outcomes = Vec::new();
    way.write(&batch, &mut outcomes);
    assert_eq!(outcomes.len(), writes.len());
    outcomes
}

/// Lets the runtime see what has happened to its sockets.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn writable(link: &Link) {
    let writable = poll_fn(|cx| link.poll_writable(cx));
    let waiting = tokio::time::timeout(Duration::from_secs(10), writable);
    waiting.await.expect("room comes");
}

/// The runtime knows that there is room on each.
async fn all_writable<'a>(links: impl IntoIterator<Item = &'a Link>) {
    for link in links {
        writable(link).await;
    }
}

/// As many bytes as there are, at most `most`, without waiting.
fn read_some(stream: &mut TcpStream, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; most];
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut bytes);
    stream.set_nonblocking(false).unwrap();
    bytes.truncate(read.unwrap_or(0));
    bytes
}

/// Bytes that tell where they belong.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (seed * 31 + at * 7 + at / 251) as u8)
        .collect()
}

/// Raises the limit of open files as far as may be; how many connections it leaves room for.
fn room_for(connections: usize) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    connections.min(usize::try_from(files / 4).unwrap_or(usize::MAX))
}

#[test]
fn thousands_get_what_is_theirs_and_in_order() {
    let count = room_for(2_000);
    for (name, mut way) in ways() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let pairs = Pairs::new();
        let (links, mut peers): (Vec<_>, Vec<_>) = (0..count).map(|_| pairs.connect()).unzip();
        runtime.block_on(all_writable(&links));
        // One slice, two, seven; short and long.
        let messages: Vec<Vec<Vec<u8>>> = (0..count)
            .map(|n| {
                (0..[1, 2, 7][n % 3])
                    .map(|k| pattern(n + k, 1 + n % 300 + k))
                    .collect()
            })
            .collect();
        for _ in 0..2 {
            let writes: Vec<_> = links
                .iter()
                .zip(&messages)
                .map(|(link, message)| (link, message.iter().map(|slice| &slice[..]).collect()))
                .collect();
            let outcomes = write(&mut *way, &writes);
            for (outcome, message) in outcomes.iter().zip(&messages) {
                let whole = message.iter().map(Vec::len).sum::<usize>();
                assert!(
                    matches!(outcome, Ok(n) if *n == whole),
                    "{name}: {outcome:?}"
                );
            }
        }
        for (peer, message) in peers.iter_mut().zip(&messages) {
            let expected = message.concat().repeat(2);
            let mut received = vec![0; expected.len()];
            peer.read_exact(&mut received).unwrap();
            assert!(received == expected, "{name}");
            assert!(read_some(peer, 1).is_empty(), "{name}: nothing twice");
        }
    }
}

#[test]
fn a_full_connection_takes_a_part_then_nothing_and_is_waited_for() {
    for (name, mut way) in ways() {
        runtime().block_on(async {
            let pairs = Pairs::new();
            let (slow, mut reader) = pairs.connect_narrow();
            let (quick, mut other) = pairs.connect();
            all_writable([&slow, &quick]).await;
            let all = pattern(1, 1 << 20);
            let mut sent = 0;
            loop {
                let (first, second) = all[sent..].split_at(1000);
                let writes = [(&slow, vec![first, second]), (&quick, vec![&b"!"[..]])];
                let [one, two] = write(&mut *way, &writes).try_into().unwrap();
                assert!(matches!(two, Ok(1)), "{name}: {two:?}");
                match one {
                    Ok(n) => sent += n,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{name}");
                        break;
                    }
                }
                assert!(sent < all.len(), "{name}: the buffers are small");
            }
            assert!(sent > 0, "{name}: a part was taken");
            // The runtime knows that there is no room, and says so when there is.
            let mut cx = Context::from_waker(Waker::noop());
            assert_eq!(slow.poll_writable(&mut cx), Poll::Pending, "{name}");
            let mut received = Vec::new();
            while received.len() < sent {
                received.extend(read_some(&mut reader, 64 << 10));
                settle().await;
            }
            writable(&slow).await;
            while sent < all.len() {
                match write(&mut *way, &[(&slow, vec![&all[sent..]])]).remove(0) {
                    Ok(n) => sent += n,
                    Err(_) => settle().await,
                }
                received.extend(read_some(&mut reader, 64 << 10));
            }
            while received.len() < all.len() {
                received.extend(read_some(&mut reader, 64 << 10));
                settle().await;
            }
            assert!(received == all, "{name}");
            assert!(!read_some(&mut other, 100).is_empty());
        });
    }
}

#[test]
fn a_connection_that_broke_fails_alone() {
    for (name, mut way) in ways() {
        runtime().block_on(async {
            let pairs = Pairs::new();
            let (reset, gone) = pairs.connect();
            let (shut, _open) = pairs.connect();
            let nothing = Link::new(None);
            let (first, mut reader) = pairs.connect();
            let (last, mut later_reader) = pairs.connect();
            rustix::net::sockopt::set_socket_linger(&gone, Some(Duration::ZERO)).unwrap();
            drop(gone);
            shut.shutdown();
            settle().await;
            all_writable([&reset, &shut, &first, &last]).await;
            let hello = || vec![&b"hel"[..], b"lo"];
            let writes = [
                (&first, hello()),
                (&reset, hello()),
                (&nothing, hello()),
                (&shut, vec![&b"hello"[..]]),
                (&last, hello()),
            ];
            let kind = |outcome: io::Result<usize>| outcome.map_err(|error| error.kind());
            let outcomes: Vec<_> = write(&mut *way, &writes).into_iter().map(kind).collect();
            assert_eq!(outcomes[0], Ok(5), "{name}");
            let broken = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
            assert!(
                broken.contains(&outcomes[1].unwrap_err()),
                "{name}: {outcomes:?}"
            );
            assert_eq!(outcomes[2], Err(io::ErrorKind::WouldBlock), "{name}");
            assert_eq!(outcomes[3], Err(io::ErrorKind::BrokenPipe), "{name}");
            assert_eq!(outcomes[4], Ok(5), "{name}");
            for reader in [&mut reader, &mut later_reader] {
                let mut received = [0; 5];
                reader.read_exact(&mut received).unwrap();
                assert_eq!(&received, b"hello", "{name}");
            }
        });
    }
}

/// What happens to some connections, in turn.
#[derive(Clone, Debug)]
enum Step {
    /// A message is queued for each of these, in pieces of these lengths.
    Queue(Vec<(usize, Vec<usize>)>),
    /// What waits is written in one batch.
    Write,
    /// A peer reads so many bytes.
    Read(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let message = (0usize..6, proptest::collection::vec(1usize..9_000, 1..5));
    prop_oneof![
        3 => proptest::collection::vec(message, 1..6).prop_map(Step::Queue),
        3 => Just(Step::Write),
        2 => (0usize..6, 1usize..20_000).prop_map(|(peer, len)| Step::Read(peer, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn peers_receive_what_was_queued_for_them(steps in proptest::collection::vec(step(), 1..40)) {
        for (name, mut way) in ways() {
            runtime().block_on(async {
                let pairs = Pairs::new();
                let (links, mut peers): (Vec<_>, Vec<_>) =
                    (0..6).map(|_| pairs.connect_narrow()).unzip();
                let mut waiting: [VecDeque<Vec<u8>>; 6] = Default::default();
                let mut sent: [Vec<u8>; 6] = Default::default();
                let mut received: [Vec<u8>; 6] = Default::default();
                let mut queued: [Vec<u8>; 6] = Default::default();
                all_writable(&links).await;
                let mut flush = |waiting: &mut [VecDeque<Vec<u8>>; 6]| {
                    let busy: Vec<_> = (0..6).filter(|n| !waiting[*n].is_empty()).collect();
                    let writes: Vec<_> = busy
                        .iter()
                        .map(|n| (&links[*n], waiting[*n].iter().map(|s| &s[..]).collect()))
                        .collect();
                    let outcomes = write(&mut *way, &writes);
                    for (n, outcome) in busy.into_iter().zip(outcomes) {
                        let mut left = match outcome {
                            Ok(written) => written,
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                            Err(error) => panic!("{name}: {error}"),
                        };
                        while left > 0 {
                            let front = waiting[n].front_mut().expect("no more than there was");
                            let taken = left.min(front.len());
                            sent[n].extend(front.drain(..taken));
                            left -= taken;
                            if front.is_empty() {
                                waiting[n].pop_front();
                            }
                        }
                    }
                };
                for (seed, step) in steps.iter().enumerate() {
                    match step {
                        Step::Queue(messages) => {
                            for (n, pieces) in messages {
                                for len in pieces {
                                    let piece = pattern(seed + n, *len);
                                    queued[*n].extend(&piece);
                                    waiting[*n].push_back(piece);
                                }
                            }
                        }
                        Step::Write => flush(&mut waiting),
                        Step::Read(n, len) => {
                            received[*n].extend(read_some(&mut peers[*n], *len));
                            settle().await;
                        }
                    }
                }
                while (0..6).any(|n| received[n].len() < queued[n].len()) {
                    flush(&mut waiting);
                    for n in 0..6 {
                        received[n].extend(read_some(&mut peers[n], 64 << 10));
                    }
                    settle().await;
                }
                for n in 0..6 {
                    assert!(sent[n] == queued[n] && received[n] == queued[n], "{name}: {n}");
                }
            });
        }
    }
}

#[test]
fn a_few_go_before_the_rest_of_a_large_room_and_many_behind_it() {
    let mut turns = Turns {
        now: Vec::new(),
        later: VecDeque::new(),
    };
    let mut advance =
        |take: std::ops::Range<usize>| turns.advance(512, |into| into.extend(take)).to_vec();
    let list = |range: std::ops::Range<usize>| range.collect::<Vec<_>>();
    assert_eq!(advance(0..3), [0, 1, 2]);
    // A room comes, then one answer, then another room.
    assert_eq!(advance(10..2_010), list(10..522));
    assert_eq!(advance(5..6), [&[5], &list(522..1_033)[..]].concat());
    assert_eq!(advance(3_000..3_200), list(1_033..1_545));
    assert_eq!(
        advance(0..0),
        [list(1_545..2_010), list(3_000..3_047)].concat()
    );
    assert_eq!(advance(0..0), list(3_047..3_200));
    assert!(advance(0..0).is_empty());
}

/// What the log says while `f` runs.
#[cfg(target_os = "linux")]
fn logged(f: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, f);
    String::from_utf8(lines.0.lock().clone()).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_whose_ring_is_forbidden_writes_without_and_says_so() {
    use crate::config::IoUring;
    use crate::worker::Worker;

    let runtime = runtime();
    let worker = Worker::new(7, Default::default(), runtime.handle().clone());
    let forbidden = || io::Error::from_raw_os_error(libc::EPERM);
    let text = logged(|| {
        let mut way = super::choose_by(&worker, Err(forbidden()));
        assert!(!worker.has_ring());
        let _inside = runtime.enter();
        let (link, mut peer) = Pairs::new().connect();
        runtime.block_on(writable(&link));
        assert!(matches!(
            write(&mut *way, &[(&link, vec![b"still"])])[..],
            [Ok(5)]
        ));
        assert_eq!(read_some(&mut peer, 9), b"still");
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in ["INFO", "without io_uring", "worker=7", "not permitted"] {
        assert!(text.contains(part), "{text}");
    }

    let text = logged(|| drop(super::choose(&worker, IoUring::Off)));
    assert!(text.contains("switched off"), "{text}");
    assert!(!worker.has_ring());
}
