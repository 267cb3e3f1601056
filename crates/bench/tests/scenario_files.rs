//! Scenario files: what they may say, and how mistakes in them are named.

use proptest::prelude::*;
use sockeye_bench::Transport;
use sockeye_bench::mixed::{Answer, Limits, Load, Mix, Parting, Step, Think, Tokens, WhenLost};
use std::path::Path;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

const SMALL: &str = r#"
[[phase]]
duration = "1s"
clients = 1

[[behaviour]]
steps = [ { emit = "ping", ack = true } ]
"#;

fn parse(text: &str) -> Mix {
    Mix::parse("a.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn error(text: &str) -> String {
    match Mix::parse("a.toml", text) {
        Ok(mix) => panic!("{mix:?}\n{text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_not_said_has_its_default() {
    let mix = parse(SMALL);
    assert_eq!(
        (mix.name.as_str(), mix.verify, mix.seed),
        ("mixed", true, 1)
    );
    assert_eq!(
        (mix.max_clients, mix.connect_timeout),
        (10_000, 10 * SECOND)
    );
    assert_eq!(mix.tokens, Tokens::None);
    let [phase] = mix.phases.as_slice() else {
        panic!()
    };
    assert_eq!((phase.name.as_str(), phase.measured), ("phase 1", true));
    assert_eq!(
        phase.load,
        Load::Clients {
            count: 1,
            ramp: SECOND
        }
    );
    let [behaviour] = mix.behaviours.as_slice() else {
        panic!()
    };
    assert_eq!(
        (behaviour.name.as_str(), behaviour.share),
        ("behaviour 1", 1.0)
    );
    assert_eq!(behaviour.transport, None);
    assert_eq!(behaviour.when_lost, WhenLost::Leave);
    assert!(behaviour.auth.is_none() && behaviour.namespace.is_none());
    let [Step::Emit { event, answer, .. }] = behaviour.steps.as_slice() else {
        panic!()
    };
    assert_eq!(mix.event(*event), "ping");
    assert_eq!(*answer, Answer::Await(5 * SECOND));
}

#[test]
fn everything_that_may_be_said_is_understood() {
    let mix = parse(
        r#"
        name = "all"
        verify = true
        seed = 7
        max_clients = 500
        ack_timeout = "3s"
        connect_timeout = "4s"
        [server]
        join = "enter"
        leave = "exit"
        publish = "say"
        publish_arguments = ["room", "data"]
        message = "said"
        includes_sender = true
        stamp_field = "mark"
        [tokens]
        list = ["one", "two"]
        [[phase]]
        name = "rise"
        duration = "10s"
        clients = 100
        ramp = "0s"
        measure = false
        [[phase]]
        duration = "1m"
        arrivals = 2.5
        arrivals_to = 10
        [[behaviour]]
        name = "b"
        share = 0.5
        transport = "upgrade"
        namespace = "/chat"
        auth = { token = "{{token}}", user = "u{{client}}" }
        bearer = "{{token}}"
        when_lost = "reconnect"
        variables = { room = "r{{random_int 1 3}}", me = "c{{client}}" }
        steps = [
            { connect = true },
            { join = "{{room}}", timeout = "1s" },
            { emit = "a" },
            { emit = "b", data = { x = [1, 2.5, true, "{{me}}"] }, ack = true, await = false },
            { emit = "c", arguments = ["one", 2, { three = 3 }] },
            { publish = "{{room}}", event = "e", data = { text = "t" }, ack = true },
            { publish = "{{room}}", data = "plain", verify = false },
            { wait = "20ms" },
            { wait = { uniform = ["1s", "2s"] } },
            { wait = { exponential = "1.5s" } },
            { repeat = 3, steps = [
                { repeat = "forever", every = "1s", steps = [ { emit = "a" } ] },
            ] },
            { leave = "{{room}}", ack = false },
            { reconnect = "cut", after = "2s" },
            { disconnect = "clean" },
        ]
        [thresholds]
        error_share = "0.5%"
        connect = { p50 = "1ms", p90 = "2ms" }
        delivery = { p999 = "1s" }
        ack = { say = { p99 = "20ms", max = "1s" } }
        "#,
    );
    assert_eq!(
        (mix.seed, mix.max_clients, mix.duration()),
        (7, 500, 70 * SECOND)
    );
    assert_eq!(mix.contract.stamp_field, "mark");
    assert_eq!(mix.contract.publish_arguments.len(), 2);
    assert_eq!(
        format!("{:?}", mix.tokens),
        "List(2 tokens)",
        "tokens are secrets"
    );
    assert!(!mix.phases[0].measured);
    assert_eq!(
        mix.phases[1].load,
        Load::Arrivals {
            from: 2.5,
            to: 10.0
        }
    );
    let behaviour = &mix.behaviours[0];
    assert_eq!((behaviour.variables.len(), behaviour.depth), (2, 2));
    assert_eq!(behaviour.transport, Some(Transport::Upgrade));
    let names: Vec<String> = behaviour
        .steps
        .iter()
        .map(|step| {
            let debug = format!("{step:?}");
            debug
                .split([' ', '(', '{'])
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(
        names.join(" "),
        "Connect Join Emit Emit Emit Publish Publish Wait Wait Wait Repeat Repeat Emit Again Again \
         Leave Disconnect Wait Connect Disconnect"
    );
    let step = |index: usize| &behaviour.steps[index];
    assert!(matches!(step(1), Step::Join(_, Answer::Await(time)) if *time == SECOND));
    assert!(
        matches!(step(3), Step::Emit { answer: Answer::Later(time), .. } if *time == 3 * SECOND)
    );
    assert!(matches!(step(5), Step::Publish { stamped: true, .. }));
    assert!(matches!(
        step(6),
        Step::Publish {
            stamped: false,
            answer: Answer::None,
            ..
        }
    ));
    assert_eq!(step(8), &Step::Wait(Think::Uniform(SECOND, 2 * SECOND)));
    assert!(matches!(
        step(10),
        Step::Repeat {
            times: Some(3),
            every: None,
            end: 14
        }
    ));
    assert!(matches!(
        step(11),
        Step::Repeat {
            times: None,
            every: Some(_),
            end: 13
        }
    ));
    assert_eq!((step(13), step(14)), (&Step::Again(11), &Step::Again(10)));
    assert_eq!(step(16), &Step::Disconnect(Parting::Cut));
    assert_eq!(mix.thresholds.error_share, Some(0.005));
    let (event, limits) = &mix.thresholds.ack[0];
    assert_eq!(mix.event(*event), "say");
    assert_eq!(
        *limits,
        Limits {
            p99: Some(SECOND / 50),
            max: Some(SECOND),
            ..Limits::default()
        }
    );
}

/// Each line of a table: what stands in place of what in [`SMALL`], the line and the words of the
/// error.
#[test]
fn mistakes_are_named_with_their_line_and_what_is_expected() {
    let steps = r#"{ emit = "ping", ack = true }"#;
    let clients = "clients = 1";
    let behaviour = "[[behaviour]]";
    let table = [
        // unknown keys, on every level
        ("[[phase]]", "[[phases]]", 2, "did you mean phase?"),
        (
            clients,
            "client = 1",
            4,
            "unknown key client in phase; did you mean clients?",
        ),
        (
            behaviour,
            "[[behaviour]]\nshares = 1",
            7,
            "did you mean share?",
        ),
        (
            steps,
            r#"{ emitt = "x" }"#,
            7,
            "unknown step emitt; did you mean emit?",
        ),
        (
            steps,
            r#"{ emit = "x", dat = 1 }"#,
            7,
            "unknown key dat in emit; did you mean data?",
        ),
        (
            steps,
            "{\n  emit = \"x\",\n  time_out = \"1s\",\n}",
            9,
            "did you mean timeout?",
        ),
        (
            steps,
            r#"{ emit = "x", join = "r" }"#,
            7,
            "emit and join are two steps",
        ),
        (steps, "{}", 7, "a step like"),
        (steps, "\"emit\"", 7, "a table expected"),
        // values
        (
            clients,
            "clients = -1",
            4,
            "a whole number from 0 to 1048576 expected",
        ),
        (clients, "clients = 1.5", 4, "a whole number"),
        (
            clients,
            "clients = 1\nramp = \"2s\"",
            5,
            "no more than the phase's duration",
        ),
        (clients, "clients = 1\narrivals = 1", 5, "not both"),
        (clients, "arrivals = 0", 4, "a number above 0"),
        (
            clients,
            "arrivals = 1\nramp = \"1s\"",
            5,
            "ramp goes with clients",
        ),
        (clients, "", 2, "clients = N"),
        ("\"1s\"", "\"1 day\"", 3, "a time like \"500ms\""),
        ("\"1s\"", "1", 3, "a time like"),
        ("\"1s\"", "\"0s\"", 3, "above zero"),
        ("duration = \"1s\"", "", 2, "duration is missing"),
        (behaviour, "[[behaviour]]\nshare = 0", 7, "above 0"),
        (
            behaviour,
            "[[behaviour]]\ntransport = \"tcp\"",
            7,
            "\"websocket\" or \"polling\" or",
        ),
        (
            behaviour,
            "[[behaviour]]\nnamespace = \"chat\"",
            7,
            "starts with /",
        ),
        (
            behaviour,
            "[[behaviour]]\nauth = \"x\"",
            7,
            "a table expected",
        ),
        (
            behaviour,
            "[[behaviour]]\nvariables = { client = \"x\" }",
            7,
            "no placeholder",
        ),
        (
            behaviour,
            "[[behaviour]]\nbearer = \"{{token}}\"",
            7,
            "needs [tokens]",
        ),
        (steps, "", 7, "at least one step"),
        (steps, r#"{ emit = "connect" }"#, 7, "keep for itself"),
        (steps, r#"{ emit = "a\"b" }"#, 7, "without quotes"),
        (
            steps,
            r#"{ emit = "a", data = "{{clent}}" }"#,
            7,
            "did you mean {{client}}?",
        ),
        (
            steps,
            r#"{ emit = "a", data = 1, arguments = [] }"#,
            7,
            "either data or arguments",
        ),
        (
            steps,
            r#"{ emit = "a", timeout = "1s" }"#,
            7,
            "timeout needs ack = true",
        ),
        (
            steps,
            r#"{ emit = "a", ack = "yes" }"#,
            7,
            "true or false expected",
        ),
        (
            steps,
            r#"{ publish = "r", data = "x" }"#,
            7,
            "a table expected, of which the stamp",
        ),
        (
            steps,
            r#"{ publish = "r", data = { stamp = 1 } }"#,
            7,
            "where the stamp goes",
        ),
        (steps, r#"{ wait = 5 }"#, 7, "{ uniform = "),
        (
            steps,
            r#"{ wait = { uniform = ["2s", "1s"] } }"#,
            7,
            "the shorter first",
        ),
        (
            steps,
            r#"{ wait = { exponential = "0s" } }"#,
            7,
            "above zero",
        ),
        (steps, r#"{ disconnect = true }"#, 7, "\"clean\" or \"cut\""),
        (steps, r#"{ connect = false }"#, 7, "true expected"),
        (
            steps,
            r#"{ repeat = "twice", steps = [ { emit = "a" } ] }"#,
            7,
            "\"forever\"",
        ),
        (steps, r#"{ repeat = 2 }"#, 7, "steps is missing"),
        (
            steps,
            r#"{ repeat = "forever", steps = [ { emit = "a" } ] }"#,
            7,
            "takes time",
        ),
        // the rest of the file
        (
            behaviour,
            "[server]\nstamp_field = \"A\"\n[[behaviour]]",
            7,
            "small letters",
        ),
        (
            behaviour,
            "[server]\npublish_arguments = [\"room\"]\n[[behaviour]]",
            7,
            "\"data\" among",
        ),
        (
            behaviour,
            "[tokens]\n[[behaviour]]",
            6,
            "one of list, file and template",
        ),
        (
            behaviour,
            "[tokens]\nlist = []\n[[behaviour]]",
            7,
            "at least one token",
        ),
        (
            behaviour,
            "[tokens]\nlist = [\"a b\"]\n[[behaviour]]",
            7,
            "token 1 of list",
        ),
        (
            behaviour,
            "[tokens]\nfile = \"no/such\"\n[[behaviour]]",
            7,
            "cannot be read",
        ),
        (
            behaviour,
            "[thresholds]\nerror_share = 2\n[[behaviour]]",
            7,
            "a share like",
        ),
        (
            behaviour,
            "[thresholds]\nack.pong = {}\n[[behaviour]]",
            7,
            "did you mean ping?",
        ),
        (
            behaviour,
            "[thresholds]\nack.ping.p98 = \"1s\"\n[[behaviour]]",
            7,
            "did you mean p9",
        ),
        (behaviour, "[tokens", 6, "a.toml"),
    ];
    for (from, to, line, expected) in table {
        assert!(SMALL.contains(from), "{from}");
        let error = error(&SMALL.replacen(from, to, 1));
        assert!(
            error.starts_with(&format!("a.toml:{line}: ")) && error.contains(expected),
            "{from} → {to}\n{error}"
        );
    }
    assert!(error("").contains("phase is missing"));
}

#[test]
fn loops_are_bounded() {
    let nested = |depth: usize| {
        let open = "{ repeat = 2, steps = [ ".repeat(depth);
        let close = " ] }".repeat(depth);
        let steps = format!("{open}{{ emit = \"x\" }}{close}");
        SMALL.replace(r#"{ emit = "ping", ack = true }"#, &steps)
    };
    assert_eq!(parse(&nested(8)).behaviours[0].depth, 8);
    assert!(error(&nested(9)).contains("more than 8 loops"));
    assert!(
        Mix::parse("a.toml", &nested(10_000)).is_err(),
        "and no overflow"
    );
}

#[test]
fn tokens_come_from_a_file_beside_the_scenario() {
    let folder = std::env::temp_dir().join(format!("scenario-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("tokens.txt"),
        "# two of them\n\n first \nsecond\n",
    )
    .unwrap();
    let file = folder.join("a.toml");
    std::fs::write(&file, format!("[tokens]\nfile = \"tokens.txt\"\n{SMALL}")).unwrap();
    let mix = Mix::load(&file).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(
        mix.tokens,
        Tokens::List(vec!["first".into(), "second".into()])
    );
    assert!(
        mix.behaviours[0].auth.is_some(),
        "sent as auth.token unless told otherwise"
    );

    let missing = Mix::load(Path::new("no/such.toml")).unwrap_err();
    assert_eq!(missing.line(), None);
    assert!(
        missing
            .to_string()
            .starts_with("no/such.toml: cannot be read")
    );
}

#[test]
fn the_examples_are_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            Mix::load(&path).unwrap_or_else(|error| panic!("{error}"));
            count += 1;
        }
    }
    assert!(count >= 2);
}

proptest! {
    /// Whatever is changed in a good file, the answer is a scenario or an error with a line in it.
    #[test]
    fn any_change_is_understood_or_refused(
        at in any::<prop::sample::Index>(), length in 0usize..12, insert in "[a-z0-9\"{}\\[\\]=,. \n-]{0,12}",
    ) {
        let chat = include_str!("../scenarios/chat.toml");
        let mut text: Vec<char> = chat.chars().collect();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, insert.chars());
        let text: String = text.into_iter().collect();
        if let Err(error) = Mix::parse("a.toml", &text) {
            let lines = text.lines().count() + 1;
            prop_assert!(error.line().is_some_and(|line| (1..=lines).contains(&line)), "{error}");
            prop_assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
