//! Sends on many sockets with one system call: io_uring, used as a batch of non-blocking sends.
//!
//! Nothing is ever left with the kernel. Each send is `MSG_DONTWAIT`, which io_uring completes
//! while it is submitted, and [`Ring::send`] returns only when it has seen the completion of every
//! send that it has submitted. So whoever calls it lends descriptors and bytes for the time of the
//! call, as to `send(2)`, and what a completion means is never guessed.
//!
//! This is the one place of the crate with `unsafe` code; everything that it exports is safe.
#![allow(
    unsafe_code,
    reason = "the submission queue takes raw pointers, and nothing but this module sees them"
)]

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use io_uring::types::Fd;
use io_uring::{IoUring, opcode};

/// Flags of each send: complete at once, and answer `EPIPE` with an error and nothing else.
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// How often a submission that the kernel has no memory for is tried again.
const RETRIES: u32 = 16;

/// How often completions are looked for after the kernel has refused to wait for them.
const LAST_LOOKS: u32 = 100_000;

/// The result of a send that was never submitted. No errno is that large.
const UNSENT: i32 = i32::MIN;

/// A ring of one thread.
pub(super) struct Ring {
    ring: IoUring,
    /// Tells the completions of this call from those of another.
    call: u32,
    /// Headers of what is in the submission queue: never more than that has entries, for which
    /// there is room, so none is ever moved.
    headers: Vec<libc::msghdr>,
    results: Vec<i32>,
    state: State,
    #[cfg(test)]
    faults: std::collections::VecDeque<tests::Fault>,
}

enum State {
    /// Nothing is in the submission queue.
    Idle,
    /// Sends are in the submission queue that must not be submitted later.
    Busy,
    /// The kernel refused to go on.
    Broken(Option<io::Error>),
}

impl Ring {
    /// A ring for the calling thread, which must be the one to use it, with room for `entries`
    /// sends in one system call.
    ///
    /// # Errors
    /// When the kernel, its configuration or a sandbox does not allow rings, or when a trial send
    /// through the new ring goes wrong.
    pub(super) fn open(entries: u32) -> io::Result<Ring> {
        // Linux 6.1 runs what is left to do when asked, and only then; 5.19 interrupts nobody.
        let deferred = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(entries);
        let ring = match deferred {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::builder()
                .setup_coop_taskrun()
                .setup_submit_all()
                .build(entries)?,
            other => other?,
        };
        let mut ring = Ring::around(ring);
        ring.try_out()?;
        Ok(ring)
    }

    fn around(ring: IoUring) -> Ring {
        Ring {
            headers: Vec::with_capacity(ring.params().sq_entries() as usize),
            ring,
            call: 0,
            results: Vec::new(),
            state: State::Idle,
            #[cfg(test)]
            faults: Default::default(),
        }
    }

    /// Sends once in each of the two ways, to ourselves.
    fn try_out(&mut self) -> io::Result<()> {
        let (mut here, there) = UnixStream::pair()?;
        let parts = [
            IoSlice::new(b"on"),
            IoSlice::new(b"e"),
            IoSlice::new(b"two"),
        ];
        let sends = [&parts[..2], &parts[2..]];
        self.send(sends.map(|parts| (Some(there.as_fd()), parts)));
        let sent: Vec<_> = self.outcomes().collect();
        let mut received = [0; 6];
        let whole = matches!(sent[..], [Some(Ok(3)), Some(Ok(3))]);
        if !whole || here.read(&mut received)? != 6 || received != *b"onetwo" {
            return Err(io::Error::other(format!(
                "a trial send went wrong: {sent:?}"
            )));
        }
        Ok(())
    }

    /// Whether the kernel has refused to go on: nothing is submitted any more.
    pub(super) fn is_broken(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Why the kernel has refused to go on, told once.
    pub(super) fn take_trouble(&mut self) -> Option<io::Error> {
        match &mut self.state {
            State::Broken(error) => error.take(),
            _ => None,
        }
    }

    /// Sends on each socket what its kernel buffer takes of its slices; [`Ring::outcomes`] says
    /// how much. Where there is no socket nothing is sent.
    pub(super) fn send<'a>(
        &mut self,
        sends: impl IntoIterator<Item = (Option<BorrowedFd<'a>>, &'a [IoSlice<'a>])>,
    ) {
        self.results.clear();
        self.call = self.call.wrapping_add(1);
        let most = self.ring.params().sq_entries() as usize;
        let mut sends = sends.into_iter().peekable();
        while sends.peek().is_some() && !self.is_broken() {
            // Should the caller's iterator panic, what is queued by then is never submitted.
            self.state = State::Busy;
            self.headers.clear();
            for (socket, slices) in sends.by_ref().take(most) {
                self.results.push(UNSENT);
                let Some(socket) = socket else { continue };
                // SAFETY: sockets, slices and bytes are borrowed for `'a`, which outlives this
                // call, and no header moves. `complete` returns when the kernel is done with all
                // of them, or with those that it has seen, and `state` keeps it from seeing others.
                unsafe { self.queue(socket, slices) };
            }
            let queued = self.ring.submission().len();
            self.complete(queued);
        }
        self.results.extend(sends.map(|_| UNSENT));
    }

    /// What became of each send of the last call, in order: how many bytes the kernel took, or
    /// its error. `None`: it was not asked.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = Option<io::Result<usize>>> {
        self.results.iter().map(|result| match *result {
            UNSENT => None,
            written @ 0.. => Some(Ok(written as usize)),
            errno if errno == -libc::ECANCELED => None,
            errno => Some(Err(io::Error::from_raw_os_error(-errno))),
        })
    }
}

impl Ring {
    /// Puts the send of the last result into the submission queue, which has room for it.
    ///
    /// # Safety
    /// The socket, the bytes, the slices and the headers must stay as they are until the send has
    /// completed, unless nothing is submitted any more.
    unsafe fn queue(&mut self, socket: BorrowedFd<'_>, slices: &[IoSlice<'_>]) {
        let socket = Fd(socket.as_raw_fd());
        let entry = if let [slice] = slices {
            let len = slice.len().try_into().unwrap_or(i32::MAX as u32);
            opcode::Send::new(socket, slice.as_ptr(), len)
                .flags(FLAGS)
                .build()
        } else {
            // SAFETY: all zeroes is a header without address, slices and control data.
            let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
            // An `IoSlice` is an `iovec`, as its documentation promises; nobody writes to it.
            header.msg_iov = slices.as_ptr().cast_mut().cast();
            header.msg_iovlen = slices.len() as _;
            self.headers.push(header);
            opcode::SendMsg::new(socket, &self.headers[self.headers.len() - 1])
                .flags(FLAGS as u32)
                .build()
        };
        let index = self.results.len() as u64 - 1;
        let entry = entry.user_data(u64::from(self.call) << 32 | index);
        // SAFETY: as promised by our caller.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the queue was empty, and no more are queued than it has entries");
    }

    /// Submits the `left` sends in the queue and waits until all have completed. When the kernel
    /// refuses, the rest stays unsent, and the ring is broken.
    fn complete(&mut self, mut left: usize) {
        let mut futile = 0;
        while left > 0 {
            let entered = self.enter(left);
            let reaped = self.reap();
            left -= reaped.min(left);
            let refused = match entered {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if !is_short(&error) => Some(error),
                // Some are submitted, or the kernel lacks memory: on with the rest.
                _ if reaped > 0 || futile < RETRIES => None,
                other => Some(
                    other
                        .err()
                        .unwrap_or_else(|| io::ErrorKind::TimedOut.into()),
                ),
            };
            futile += u32::from(reaped == 0);
            let Some(error) = refused.filter(|_| left > 0) else {
                continue;
            };
            if self.ring.submission().len() == left {
                self.state = State::Broken(Some(error));
                return;
            }
            // The kernel holds sends and does not tell how they ended. A non-blocking send ends
            // where it is submitted, so it knows no such state; but memory that it may still read
            // cannot be given back.
            if futile > LAST_LOOKS {
                eprintln!("io_uring keeps what it was handed: {error}");
                std::process::abort();
            }
            std::thread::yield_now();
        }
        self.state = State::Idle;
    }

    /// Submits what is queued and, if it all could be, waits for `wanted` completions.
    fn enter(&mut self, wanted: usize) -> io::Result<usize> {
        #[cfg(test)]
        if let Some(fault) = self.faults.pop_front() {
            return fault.enter(&self.ring);
        }
        self.ring.submit_and_wait(wanted)
    }

    /// Takes the completions that are there, and counts them.
    fn reap(&mut self) -> usize {
        let mut reaped = 0;
        for completion in self.ring.completion() {
            let data = completion.user_data();
            let (call, index) = ((data >> 32) as u32, data as u32 as usize);
            if call != self.call {
                continue;
            }
            if let Some(result) = self.results.get_mut(index) {
                *result = completion.result();
                reaped += 1;
            }
        }
        reaped
    }
}

/// Whether the kernel is short of something for the moment.
fn is_short(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does instead of what it was asked for.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) enum Fault {
        /// A signal comes first.
        Interrupted,
        /// It is short of something.
        Short,
        /// It takes only so many, and waits for none.
        Only(u32),
        /// It does what it is asked, and is interrupted before it says so.
        Late,
        /// It wants no more of this ring.
        Refused,
    }

    impl Fault {
        pub(super) fn enter(self, ring: &IoUring) -> io::Result<usize> {
            let errno = match self {
                Fault::Interrupted => libc::EINTR,
                Fault::Short => libc::EAGAIN,
                Fault::Refused => libc::EBADFD,
                Fault::Only(most) => {
                    // SAFETY: there is no argument. What is submitted is what `Ring` has queued.
                    return unsafe { ring.submitter().enter::<()>(most, 0, 1, None) };
                }
                Fault::Late => {
                    ring.submit()?;
                    libc::EINTR
                }
            };
            Err(io::Error::from_raw_os_error(errno))
        }
    }

    /// Sends a message of its own over each of some socket pairs. What they received, and how many
    /// sends were not made.
    fn send(faults: &[Fault], count: usize) -> Option<(Vec<Vec<u8>>, Vec<usize>, Ring)> {
        let mut ring = Ring::open(8).ok()?;
        ring.faults.extend(faults);
        let pairs: Vec<_> = (0..count).map(|_| UnixStream::pair().unwrap()).collect();
        let texts: Vec<_> = (0..count)
            .map(|n| format!("message {n}").into_bytes())
            .collect();
        let slices: Vec<_> = texts
            .iter()
            .map(|text| text.chunks(4).map(IoSlice::new).collect::<Vec<_>>())
            .collect();
        let whole: Vec<_> = texts.iter().map(|text| [IoSlice::new(text)]).collect();
        ring.send(pairs.iter().enumerate().map(|(n, (_, ours))| {
            let slices = if n % 2 == 0 {
                &whole[n][..]
            } else {
                &slices[n]
            };
            (Some(ours.as_fd()), slices)
        }));
        let mut unsent = Vec::new();
        for (n, outcome) in ring.outcomes().enumerate() {
            match outcome {
                Some(Ok(written)) => assert_eq!(written, texts[n].len()),
                None => unsent.push(n),
                Some(Err(error)) => panic!("{faults:?}: {error}"),
            }
        }
        let received = pairs
            .into_iter()
            .enumerate()
            .map(|(n, (mut theirs, ours))| {
                drop(ours);
                let mut received = Vec::new();
                theirs.read_to_end(&mut received).unwrap();
                let expected = if unsent.contains(&n) {
                    &[][..]
                } else {
                    &texts[n]
                };
                assert_eq!(received, expected, "{faults:?}: {n}");
                received
            })
            .collect();
        Some((received, unsent, ring))
    }

    #[test]
    fn interruptions_and_short_submissions_lose_and_double_nothing() {
        use Fault::{Interrupted, Late, Only, Short};
        let table: [&[Fault]; 7] = [
            &[],
            &[Interrupted, Interrupted],
            &[Only(1), Only(3), Interrupted, Only(1)],
            &[Short, Only(2), Short, Short],
            &[Late, Interrupted, Late],
            &[Only(0), Only(0), Short, Late],
            &[Short; 10],
        ];
        for faults in table {
            for count in [1, 8, 9, 40] {
                let Some((_, unsent, ring)) = send(faults, count) else {
                    return; // No rings on this system.
                };
                assert!(unsent.is_empty(), "{faults:?}: {unsent:?}");
                assert!(!ring.is_broken());
            }
        }
    }

    #[test]
    fn a_ring_that_breaks_says_which_sends_were_not_made() {
        let table: [(&[Fault], usize); 3] = [
            (&[Fault::Refused], 0),
            (&[Fault::Only(3), Fault::Refused], 3),
            (&[Fault::Short; RETRIES as usize + 1], 0),
        ];
        for (faults, made) in table {
            let Some((_, unsent, mut ring)) = send(faults, 20) else {
                return; // No rings on this system.
            };
            assert_eq!(unsent, (made..20).collect::<Vec<_>>(), "{faults:?}");
            assert!(ring.is_broken());
            assert!(ring.take_trouble().is_some());
            assert!(ring.take_trouble().is_none(), "told once");
            // Nothing that was left is ever submitted.
            let (mut theirs, ours) = UnixStream::pair().unwrap();
            ring.send([(Some(ours.as_fd()), &[IoSlice::new(b"late")][..])]);
            assert!(matches!(ring.outcomes().collect::<Vec<_>>()[..], [None]));
            drop(ours);
            assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0);
        }
    }

    #[test]
    fn what_was_queued_when_the_caller_panicked_is_never_sent() {
        let Ok(mut ring) = Ring::open(8) else {
            return; // No rings on this system.
        };
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let slices = [IoSlice::new(b"lent")];
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            ring.send((0..2).map(|n| {
                assert_eq!(n, 0, "the caller has a bug");
                (Some(ours.as_fd()), &slices[..])
            }));
        }));
        assert!(panicked.is_err());
        ring.send([(Some(ours.as_fd()), &slices[..])]);
        assert!(matches!(ring.outcomes().collect::<Vec<_>>()[..], [None]));
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn the_older_way_to_set_a_ring_up_works_too() {
        let Ok(ring) = IoUring::builder()
            .setup_coop_taskrun()
            .setup_submit_all()
            .build(8)
        else {
            return; // No rings on this system.
        };
        Ring::around(ring).try_out().unwrap();
    }
}
