//! What a shard holds of a WebSocket connection, and how it talks to the connection's task.

use std::io::{self, IoSlice};
#[cfg(any(target_os = "linux", test))]
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::net::tcp::OwnedWriteHalf;

/// Something the task of a connection has to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Signal {
    /// The session is over: say goodbye and close.
    Close = 1,
    /// Reading may go on.
    Resume = 2,
    /// The kernel refused bytes: watch for room.
    Blocked = 4,
    /// There is something to write, and only the task can (streams that are not bare TCP).
    Write = 8,
}

/// The shard's end of a WebSocket connection.
///
/// A bare TCP connection is written by the shard itself, many in one go; any other stream is
/// written by the connection's task, which is signalled.
#[derive(Debug)]
pub(crate) struct Link {
    write: Option<OwnedWriteHalf>,
    signals: AtomicU8,
    close_code: AtomicU16,
    /// A message has left in part: nothing but its rest may follow.
    mid_message: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Link {
    pub(crate) fn new(write: Option<OwnedWriteHalf>) -> Self {
        Link {
            write,
            signals: AtomicU8::new(0),
            close_code: AtomicU16::new(0),
            mid_message: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Whether the shard writes to it itself.
    pub(crate) fn is_direct(&self) -> bool {
        self.write.is_some()
    }

    /// Writes what the kernel takes now.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.write {
            Some(write) if slices.len() == 1 => write.try_write(&slices[0]),
            Some(write) => write.try_write_vectored(slices),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The socket of a bare TCP connection.
    #[cfg(any(target_os = "linux", test))]
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.write.as_ref().map(|write| write.as_ref().as_fd())
    }

    /// Waits until the kernel takes bytes again.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.write {
            Some(write) => write.as_ref().poll_write_ready(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// Whether the peer has closed its side, even behind data that was not read yet.
    pub(crate) fn is_hung_up(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let Some(write) = &self.write else {
            return false;
        };
        let mut fds = [PollFd::new(write.as_ref(), PollFlags::RDHUP)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let before = self.signals.fetch_or(signal as u8, Ordering::AcqRel);
        if before & signal as u8 == 0
            && let Some(waker) = self.waker.lock().take()
        {
            waker.wake();
        }
    }

    /// Asks for the end, with a close code for the peer (0: none).
    pub(crate) fn close(&self, code: u16) {
        self.set_close_code(code);
        self.signal(Signal::Close);
    }

    /// Sets the code of the close frame, unless one was set before.
    pub(crate) fn set_close_code(&self, code: u16) {
        let _ = self
            .close_code
            .compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn close_code(&self) -> u16 {
        self.close_code.load(Ordering::Acquire)
    }

    pub(crate) fn set_mid_message(&self, partial: bool) {
        if self.mid_message.load(Ordering::Relaxed) != partial {
            self.mid_message.store(partial, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_mid_message(&self) -> bool {
        self.mid_message.load(Ordering::Relaxed)
    }

    /// Says to the peer that nothing more follows.
    pub(crate) fn shutdown(&self) {
        if let Some(write) = &self.write {
            let _ = rustix::net::shutdown(write.as_ref(), rustix::net::Shutdown::Write);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.signals.load(Ordering::Acquire) & Signal::Close as u8 != 0
    }

    /// Takes what was signalled, except the end, which stays; `cx` is woken by the next signal.
    pub(crate) fn take_signals(&self, cx: &mut Context<'_>) -> Signals {
        let mut waker = self.waker.lock();
        if waker
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Signals(
            self.signals
                .fetch_and(Signal::Close as u8, Ordering::AcqRel),
        )
    }
}

/// A set of signals.
#[derive(Clone, Copy)]
pub(crate) struct Signals(u8);

impl Signals {
    pub(crate) fn has(self, signal: Signal) -> bool {
        self.0 & signal as u8 != 0
    }
}
