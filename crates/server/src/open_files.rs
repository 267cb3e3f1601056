//! The limit of open files: every connection needs one.

use std::fmt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files the process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    /// In force now; `None` without a limit.
    pub(crate) limit: Option<u64>,
    /// What it was before, if it has been raised.
    raised_from: Option<u64>,
}

/// Raises the limit in force to the one that the process may take by itself.
pub(crate) fn raise() -> OpenFiles {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    if current != maximum && setrlimit(Resource::Nofile, wanted).is_ok() {
        return OpenFiles {
            limit: maximum,
            raised_from: current,
        };
    }
    OpenFiles {
        limit: current,
        raised_from: None,
    }
}

impl fmt::Display for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "{limit} at most")?,
            None => f.write_str("unlimited")?,
        }
        match self.raised_from {
            Some(before) => write!(f, " (raised from {before})"),
            None => Ok(()),
        }
    }
}
