//! Configuration: one table of definitions, three sources, one typed result.
//!
//! [`table`] says what can be set. [`Settings`] collects file, environment and flags (flags win
//! over environment over file over default) and knows where each value came from. [`Config`] is
//! what the rest of the program reads: parsed, and consistent across keys.

mod definition;
mod error;
mod nearest;
mod reference;
mod settings;
pub(crate) mod table;
mod typed;
mod value;

pub(crate) use definition::{CONFIG_ENV, Kind, Setting};
pub(crate) use error::{ConfigError, Problem};
pub(crate) use nearest::nearest;
pub(crate) use reference::page;
pub(crate) use settings::{FlagValue, Settings};
pub(crate) use typed::{Config, Cors, LogFormat, Tls};

/// The default of a setting.
pub(crate) fn default_of(setting: &Setting) -> value::Value {
    value::Value::from(setting.default)
}
