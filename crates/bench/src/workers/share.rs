//! What each worker does of a plan.

use crate::plan::{Credentials, Pace, Plan, Scenario};

/// Why a plan cannot be shared among so many workers, if so.
pub(crate) fn refusal(plan: &Plan, workers: u32) -> Option<String> {
    if workers <= 1 {
        return None;
    }
    if workers > plan.connections {
        return Some(format!(
            "{workers} workers cannot share {} connections",
            plan.connections
        ));
    }
    match plan.scenario {
        Scenario::Idle
        | Scenario::Storm { reconnect: None }
        | Scenario::Echo { .. }
        | Scenario::Rate { .. }
        | Scenario::Fanout { .. }
        | Scenario::Ramp(_)
        | Scenario::Spike(_)
        | Scenario::Soak(_)
        | Scenario::Churn(_) => None,
        _ => Some(format!(
            "{} runs in one process so far: leave --workers out",
            plan.scenario.name()
        )),
    }
}

/// The part of one of `count` items that falls to worker `index` of `workers`, and where it begins.
fn part(count: u32, index: u32, workers: u32) -> (u32, u32) {
    let (each, rest) = (count / workers, count % workers);
    let begin = each * index + rest.min(index);
    (begin, each + u32::from(index < rest))
}

/// The plan of worker `index` of `workers`. Only the first observes the server's process.
pub(super) fn share(plan: &Plan, index: u32, workers: u32) -> Plan {
    let mut own = plan.clone();
    let (begin, connections) = part(plan.connections, index, workers);
    own.connections = connections;
    own.handshakes = (plan.handshakes / workers).max(1);
    if plan.sources.len() >= workers as usize {
        let sources = plan.sources.iter().zip(0u32..);
        own.sources = sources
            .filter(|(_, number)| number % workers == index)
            .map(|(source, _)| *source)
            .collect();
    }
    if let Some(credentials) = plan.credentials.clone() {
        own.credentials = Some(Credentials::new(move |connection| {
            credentials.of(begin + connection)
        }));
    }
    if index > 0 {
        own.pid = None;
        own.more_pids.clear();
    }
    let fair = f64::from(connections) / f64::from(plan.connections);
    match &mut own.scenario {
        Scenario::Rate { per_second } => *per_second *= fair,
        Scenario::Ramp(ramp) => {
            ramp.from = part(ramp.from, index, workers).1;
            ramp.per_second = ramp.per_second.map(|all| all * fair);
        }
        Scenario::Spike(spike) => {
            spike.connections = part(spike.connections, index, workers).1;
            spike.base_rate *= fair;
            spike.peak_rate *= fair;
        }
        Scenario::Soak(soak) => {
            if let Pace::PerSecond(rate) = &mut soak.pace {
                *rate *= fair;
            }
        }
        Scenario::Churn(churn) => {
            churn.per_second *= fair;
            churn.rate *= fair;
        }
        Scenario::Fanout { publishers, pace } => {
            let all = (*publishers).clamp(1, plan.connections);
            *publishers = part(all, index, workers).1;
            if let Pace::PerSecond(rate) = pace {
                *rate *= f64::from(*publishers) / f64::from(all);
            }
        }
        _ => {}
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Credential;
    use crate::target::{Protocol, Target};
    use proptest::prelude::*;

    fn plan(scenario: Scenario) -> Plan {
        let target = Target::parse("ws://127.0.0.1:9", Protocol::SocketIo).unwrap();
        Plan::new(target, scenario)
    }

    proptest! {
        #[test]
        fn the_shares_make_the_whole(
            connections in 1u32..5000,
            workers in 1u32..20,
            publishers in 1u32..30,
            rate in 1.0f64..1e5,
        ) {
            prop_assume!(workers <= connections);
            let pace = Pace::PerSecond(rate);
            let mut whole = plan(Scenario::Fanout { publishers, pace });
            whole.connections = connections;
            whole.pid = Some(1);
            whole.credentials = Some(Credentials::new(|c| Credential::token(&c.to_string())));
            prop_assert_eq!(refusal(&whole, workers), None);
            let parts: Vec<Plan> = (0..workers).map(|i| share(&whole, i, workers)).collect();
            let mut tokens = 0;
            let (mut all_publishers, mut all_rate) = (0, 0.0);
            for own in &parts {
                prop_assert!(own.connections >= 1 && own.handshakes >= 1);
                for connection in 0..own.connections {
                    let token = own.credentials.as_ref().unwrap().of(connection).bearer.unwrap();
                    prop_assert_eq!(token, tokens.to_string());
                    tokens += 1;
                }
                let Scenario::Fanout { publishers, pace: Pace::PerSecond(rate) } = own.scenario else {
                    panic!()
                };
                prop_assert!(publishers <= own.connections);
                all_publishers += publishers;
                all_rate += rate;
            }
            prop_assert_eq!(tokens, connections);
            prop_assert_eq!(all_publishers, publishers.min(connections));
            prop_assert!((all_rate / rate - 1.0).abs() < 1e-9);
            prop_assert_eq!(parts.iter().filter(|own| own.pid.is_some()).count(), 1);
            let sources: usize = parts.iter().map(|own| own.sources.len()).sum();
            prop_assert!(sources == whole.sources.len() || workers > 4);
        }
    }

    #[test]
    fn what_cannot_be_shared_is_refused() {
        let mut few = plan(Scenario::Idle);
        few.connections = 3;
        assert!(refusal(&few, 4).unwrap().contains("3 connections"));
        assert_eq!(refusal(&few, 3), None);
        let slow = plan(Scenario::Slow(crate::Slow {
            share: 0.1,
            read_rate: 0,
            publishers: 1,
            pace: Pace::Window(1),
        }));
        assert!(refusal(&slow, 2).unwrap().contains("one process"));
        assert_eq!(refusal(&slow, 1), None);
    }

    #[test]
    fn a_share_of_a_ramp_rises_or_stays() {
        let mut whole = plan(Scenario::Ramp(crate::Ramp {
            from: 99,
            steps: 2,
            per_second: Some(30.0),
            hold: std::time::Duration::ZERO,
            rate: 0.5,
        }));
        whole.connections = 100;
        let (mut from, mut per_second) = (0, 0.0);
        for index in 0..3 {
            let own = share(&whole, index, 3);
            let Scenario::Ramp(ramp) = own.scenario else {
                panic!()
            };
            assert!(ramp.from <= own.connections);
            assert_eq!(ramp.rate, 0.5, "it is per connection");
            from += ramp.from;
            per_second += ramp.per_second.unwrap();
        }
        assert_eq!(from, 99);
        assert!((per_second - 30.0f64).abs() < 1e-9);
    }
}
