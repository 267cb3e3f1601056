//! The clients of a scenario file on the connections of the engine.

use super::{Desk, Driver, End};
use crate::clock;
use crate::mixed::{Act, Defaults, Mix, MixedReport, Parting, Play};
use crate::plan::{Credential, Credentials, Plan};
use crate::wire::packet::Packet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the client in each slot shows at the door.
type Shown = Arc<Mutex<Vec<Credential>>>;

/// Credentials that the driver of a scenario file sets before each connection.
#[derive(Debug, Clone)]
pub(crate) struct Doors(Shown);

impl Doors {
    pub(crate) fn new(slots: u32) -> Self {
        let shown = vec![Credential::default(); slots as usize];
        Self(Arc::new(Mutex::new(shown)))
    }

    /// For the plan.
    pub(crate) fn credentials(&self) -> Credentials {
        let shown = self.0.clone();
        Credentials::new(move |slot| {
            let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.get(slot as usize).cloned().unwrap_or_default()
        })
    }

    fn set(&self, slot: u32, credential: Credential) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = shown.get_mut(slot as usize) {
            *shown = credential;
        }
    }
}

pub(crate) struct Mixing<'m> {
    mix: &'m Mix,
    defaults: Defaults,
    doors: Doors,
    /// From the beginning of the measurement on.
    play: Option<Play<'m>>,
    phase: Option<usize>,
}

impl<'m> Mixing<'m> {
    pub(crate) fn new(plan: &Plan, mix: &'m Mix, doors: Doors) -> Self {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now = clock::now();
        Self {
            mix,
            defaults: Defaults {
                namespace: plan.namespace.clone(),
                auth: plan.auth.clone(),
                bearer: plan.bearer.clone(),
                handshakes: plan.handshakes.max(1),
                // Two runs that begin in the same nanosecond are one too many anyway.
                run: (now ^ (now >> 32)) as u32 ^ std::process::id().rotate_left(16),
                epoch_ms: (since_1970.as_millis() as u64).saturating_sub(now / 1_000_000),
            },
            doors,
            play: None,
            phase: None,
        }
    }

    /// What it found; `errors` are connections that went wrong.
    pub(crate) fn report(mut self, errors: u64) -> Option<MixedReport> {
        let play = self.play.as_mut()?;
        play.end();
        let faults = play.rooms().faults();
        Some(MixedReport::new(self.mix, play.figures(), faults, errors))
    }

    /// Tells the play of something, and the engine of what follows from it.
    fn tell(&mut self, desk: &mut Desk, what: impl FnOnce(&mut Play<'m>, u64)) {
        let Some(play) = &mut self.play else { return };
        what(play, desk.now);
        let acts = play.take_acts();
        for act in &acts {
            match act {
                Act::Open { slot, credential } => {
                    self.doors.set(*slot, credential.clone());
                    desk.open(*slot);
                }
                Act::Send { slot, text } => {
                    desk.send_text(*slot, play.text(text.clone()).as_bytes());
                }
                Act::Close { slot, parting } => match parting {
                    Parting::Clean => desk.leave(*slot),
                    Parting::Cut => desk.cut(*slot),
                },
            }
        }
        play.done(acts);
        count(play, desk);
    }
}

/// Takes over what was counted since the last time.
fn count(play: &mut Play<'_>, desk: &mut Desk) {
    let now = desk.now;
    let fresh = play.fresh();
    for _ in 0..std::mem::take(&mut fresh.sent) {
        desk.sent += u64::from(desk.counting);
        desk.timeline.sent();
    }
    for (since, measured) in fresh.received.drain(..) {
        desk.last_arrival = now;
        desk.received += u64::from(desk.counting);
        desk.timeline.received();
        if measured {
            desk.timeline.latency(since, now);
        }
    }
    for late in fresh.late.drain(..) {
        desk.late.record(late);
    }
    desk.unrelated += std::mem::take(&mut fresh.unrelated);
}

impl Driver for Mixing<'_> {
    fn start(&mut self, _desk: &mut Desk) {}

    fn measure(&mut self, desk: &mut Desk) {
        let began = desk.window.start;
        self.play = Some(Play::new(self.mix, self.defaults.clone(), began));
        self.due(desk);
    }

    fn next_due(&self) -> Option<u64> {
        self.play.as_ref().map(Play::next_due)
    }

    fn due(&mut self, desk: &mut Desk) {
        // A phase begins before those who come with it.
        let phase = self.play.as_ref().and_then(|play| play.phase_at(desk.now));
        if let Some(index) = phase.filter(|_| phase != self.phase) {
            desk.enter_phase(self.mix.phases[index].name.clone());
            self.phase = phase;
        }
        self.tell(desk, Play::turn);
    }

    fn ready(&mut self, connection: u32, desk: &mut Desk) {
        self.tell(desk, |play, now| play.ready(connection, now));
    }

    fn failed(&mut self, connection: u32, desk: &mut Desk) {
        self.tell(desk, |play, now| play.failed(connection, now));
    }

    fn gone(&mut self, connection: u32, _end: End, desk: &mut Desk) {
        self.tell(desk, |play, now| play.gone(connection, now));
    }

    fn expects_loss(&self, connection: u32) -> bool {
        self.play
            .as_ref()
            .is_some_and(|play| play.is_closing(connection))
    }

    fn is_finished(&self) -> bool {
        self.play
            .as_ref()
            .is_some_and(|play| play.phase().is_none())
    }

    fn faults(&self) -> u64 {
        let Some(play) = &self.play else { return 0 };
        let kinds = play.rooms().faults().kinds();
        kinds.iter().map(|(_, count)| count).sum()
    }

    fn is_waiting(&self) -> bool {
        self.play
            .as_ref()
            .is_some_and(|play| play.is_waiting() || play.missing() > 0)
    }

    fn text(&mut self, receiver: u32, text: &[u8], desk: &mut Desk) {
        let packet = Packet::read(text);
        self.tell(desk, |play, now| play.packet(receiver, packet, now));
    }
}
