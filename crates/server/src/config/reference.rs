//! The reference page, written from the table.

use std::fmt::Write as _;

use super::definition::Setting;
use super::table::{SECTIONS, TABLE};
use super::value::Value;

const HEAD: &str = "\
# Configuration

<!-- Written by `sockeye config-reference > docs/configuration.md`; change the table in
crates/server/src/config/table.rs instead of this page. -->

Every key can be set in a TOML file, by an environment variable and by a flag. A flag wins over a
variable, a variable over the file, the file over the default.

```sh
sockeye serve --config sockeye.toml --port 4000
SOCKEYE_SERVER_PORT=4000 sockeye serve
```

```toml
[server]
port = 4000
```

- `sockeye check --config sockeye.toml` prints the effective value of every key and where it comes
  from, in a form that is itself a configuration file. It ends with status 2 when something is
  wrong.
- `sockeye help server.port` explains one key.
- The file is named by `--config` or `SOCKEYE_CONFIG`; without either none is read.
- An unknown key, variable that begins with `SOCKEYE_`, or flag is an error that names the nearest
  known one. Variables that Kubernetes sets for a service (`…_SERVICE_HOST`, `…_PORT=tcp://…`) are
  passed over, and so is `SOCKEYE_BIN`, by which scripts name the program.
- Times are whole milliseconds, sizes whole bytes. A switch is `true` or `false`; as a flag,
  `--name` alone means `true` and `--no-name` means `false`.
- Lists are arrays in the file. In a variable or flag the entries are separated by commas (regular
  expressions by spaces), and a flag may be repeated.
- There are no authentication keys in this version: the server is in development mode and listens
  on loopback only, unless `server.allow_unauthenticated` is set.
";

/// The page, in Markdown.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        // Writing to a `String` cannot fail; the results are of no interest.
        let _ = write!(
            page,
            "\n## {}: `[{}]`\n\n{}\n",
            section.title, section.name, section.intro
        );
        for setting in TABLE
            .iter()
            .filter(|setting| setting.section() == section.name)
        {
            entry(&mut page, setting);
        }
    }
    page
}

fn entry(page: &mut String, setting: &Setting) {
    let _ = write!(
        page,
        "\n### `{}`\n\n{}. {}\n\n\
         | type | default | environment | flag |\n| --- | --- | --- | --- |\n\
         | {} | `{}` | `{}` | `--{}` |\n\nAccepted: {}.\n",
        setting.path,
        setting.short,
        setting.long,
        setting.kind.describe(),
        Value::from(setting.default),
        setting.env(),
        setting.flag,
        setting.kind,
    );
}
