//! Waking up at a point in time, finer than the millisecond of a poll's timeout.

use mio::{Interest, Registry, Token};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// A timer descriptor in the poll. Linux only; elsewhere a poll's timeout has to do.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: OwnedFd,
    armed_for: u64,
}

impl Alarm {
    #[cfg(target_os = "linux")]
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Option<Self>> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let mut source = mio::unix::SourceFd(&timer.as_raw_fd());
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Some(Self {
            timer,
            armed_for: 0,
        }))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new(_registry: &Registry, _token: Token) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Arms it for a time of [`crate::clock::now`].
    #[cfg(target_os = "linux")]
    pub(crate) fn arm(&mut self, at_ns: u64) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        if self.armed_for == at_ns {
            return Ok(());
        }
        self.armed_for = at_ns;
        let value = Timespec {
            tv_sec: (at_ns / 1_000_000_000) as i64,
            tv_nsec: (at_ns % 1_000_000_000) as _,
        };
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn arm(&mut self, _at_ns: u64) -> io::Result<()> {
        let _ = (&self.timer, self.armed_for);
        Ok(())
    }
}
