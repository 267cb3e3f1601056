//! The steps of a client.

use super::super::client::{Client, Meaning, Pending, Round, State};
use super::super::plan::{Answer, Behaviour, EventId, PublishArgument, Step};
use super::super::stamp::RoomStamp;
use super::super::template::{JsonTemplate, Template, escape};
use super::{Act, Play, STEPS_IN_A_ROW};
use crate::stamp::{Kind, Stamp};

/// Whether a client goes on with its next step.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    On,
    Stop,
}

impl Play<'_> {
    pub(super) fn advance(&mut self, client: &mut Client) {
        if self.phase().is_none() || client.leaving {
            return;
        }
        let behaviour = &self.mix.behaviours[client.behaviour];
        for _ in 0..STEPS_IN_A_ROW {
            let Some(step) = behaviour.steps.get(client.step) else {
                client.ended = true;
                if client.acks.is_empty() {
                    self.let_go(client);
                }
                return;
            };
            if self.step(client, behaviour, step) == Flow::Stop {
                return;
            }
        }
        // Not in this turn: the others come first.
        self.resume(client, self.now + 1);
    }

    fn step(&mut self, client: &mut Client, behaviour: &Behaviour, step: &Step) -> Flow {
        let needs_connection = matches!(
            step,
            Step::Connect
                | Step::Join(..)
                | Step::Leave(..)
                | Step::Emit { .. }
                | Step::Publish { .. }
        );
        if needs_connection && client.state != State::Ready {
            self.open(client, client.clock);
            return Flow::Stop;
        }
        client.step += 1;
        match step {
            Step::Connect => Flow::On,
            Step::Join(room, answer) => self.join(client, behaviour, room, *answer),
            Step::Leave(room, answer) => self.leave(client, behaviour, room, *answer),
            Step::Emit {
                event,
                arguments,
                answer,
            } => self.emit(client, behaviour, *event, arguments, *answer),
            Step::Publish { .. } => self.publish(client, behaviour, step),
            Step::Wait(think) => {
                let time = client.think(*think);
                self.resume(client, client.clock + time);
                Flow::Stop
            }
            Step::Disconnect(_) if client.state != State::Ready => Flow::On,
            Step::Disconnect(parting) => {
                self.close(client, *parting);
                Flow::Stop
            }
            Step::Repeat { .. } => {
                client.loops.push(Round {
                    done: 0,
                    due: client.clock,
                });
                Flow::On
            }
            Step::Again(start) => self.again(client, behaviour, *start),
        }
    }

    fn again(&mut self, client: &mut Client, behaviour: &Behaviour, start: usize) -> Flow {
        let (Some(round), Some(&Step::Repeat { times, every, .. })) =
            (client.loops.last_mut(), behaviour.steps.get(start))
        else {
            return Flow::On;
        };
        round.done = round.done.saturating_add(1);
        if times.is_some_and(|times| round.done >= times) {
            client.loops.pop();
            return Flow::On;
        }
        client.step = start + 1;
        let Some(every) = every else {
            return Flow::On;
        };
        round.due += every.as_nanos() as u64;
        let due = round.due;
        if due > self.now {
            self.resume(client, due);
            return Flow::Stop;
        }
        // Late: the round begins at once, and what it sends is counted from when it was due.
        client.clock = due;
        Flow::On
    }

    fn join(
        &mut self,
        client: &mut Client,
        behaviour: &Behaviour,
        room: &Template,
        answer: Answer,
    ) -> Flow {
        let (name, number) = self.room(client, room);
        if client.member(number).is_none() {
            client.members.push(self.rooms.join(number));
        }
        let event = self.event(&self.mix.contract.join);
        self.say_room(
            client,
            behaviour,
            event,
            &name,
            answer,
            Meaning::Join(number),
        )
    }

    fn leave(
        &mut self,
        client: &mut Client,
        behaviour: &Behaviour,
        room: &Template,
        answer: Answer,
    ) -> Flow {
        let (name, number) = self.room(client, room);
        if let Some(member) = client.members.iter_mut().find(|m| m.room == number) {
            self.rooms.leave(member);
        }
        let event = self.event(&self.mix.contract.leave);
        self.say_room(
            client,
            behaviour,
            event,
            &name,
            answer,
            Meaning::Leave(number),
        )
    }

    fn say_room(
        &mut self,
        client: &mut Client,
        behaviour: &Behaviour,
        event: EventId,
        room: &str,
        answer: Answer,
        meaning: Meaning,
    ) -> Flow {
        let start = self.begin(client, behaviour, event, answer);
        self.text.push_str(",\"");
        escape(room, &mut self.text);
        self.text.push('"');
        self.say(client, start, event, answer, meaning)
    }

    fn emit(
        &mut self,
        client: &mut Client,
        behaviour: &Behaviour,
        event: EventId,
        arguments: &[JsonTemplate],
        answer: Answer,
    ) -> Flow {
        let start = self.begin(client, behaviour, event, answer);
        let timestamp = self.timestamp();
        for argument in arguments {
            self.text.push(',');
            argument.render(&mut client.values(timestamp), &mut self.text);
        }
        self.say(client, start, event, answer, Meaning::Event)
    }

    fn publish(&mut self, client: &mut Client, behaviour: &Behaviour, step: &Step) -> Flow {
        let Step::Publish {
            room,
            event: label,
            data,
            stamped,
            answer,
        } = step
        else {
            return Flow::On;
        };
        let contract = &self.mix.contract;
        let event = self.event(&contract.publish);
        let (name, number) = self.room(client, room);
        let message = stamped.then(|| {
            let own = client.members.iter_mut().find(|m| m.room == number);
            let own = own.filter(|_| !contract.includes_sender);
            self.rooms.publish(number, client.session, own)
        });
        if let Some(message) = message {
            client.published(message);
            self.figures.published += 1;
        }
        let start = self.begin(client, behaviour, event, *answer);
        let timestamp = self.timestamp();
        for argument in &contract.publish_arguments {
            self.text.push(',');
            match argument {
                PublishArgument::Room => {
                    self.text.push('"');
                    escape(&name, &mut self.text);
                    self.text.push('"');
                }
                PublishArgument::Event => {
                    self.scratch.clear();
                    label.render(&mut client.values(timestamp), &mut self.scratch);
                    self.text.push('"');
                    escape(&self.scratch, &mut self.text);
                    self.text.push('"');
                }
                PublishArgument::Data => match message {
                    None => data.render(&mut client.values(timestamp), &mut self.text),
                    Some(message) => {
                        self.scratch.clear();
                        data.render(&mut client.values(timestamp), &mut self.scratch);
                        let stamp = RoomStamp {
                            run: self.defaults.run,
                            room: message.room,
                            stamp: Stamp {
                                kind: Kind::Broadcast,
                                publisher: client.session,
                                sequence: message.number,
                                time_ns: client.clock,
                            },
                        };
                        stamp.write_into(&self.scratch, &contract.stamp_field, &mut self.text);
                    }
                },
            }
        }
        let meaning = message.map_or(Meaning::Event, Meaning::Publish);
        self.say(client, start, event, *answer, meaning)
    }

    /// Begins an event packet; where it starts in the text.
    fn begin(
        &mut self,
        client: &Client,
        behaviour: &Behaviour,
        event: EventId,
        answer: Answer,
    ) -> usize {
        use std::fmt::Write as _;
        let start = self.text.len();
        self.text.push_str("42");
        let default = self.defaults.namespace.as_str();
        let namespace = behaviour.namespace.as_deref().unwrap_or(default);
        if namespace != "/" {
            self.text.push_str(namespace);
            self.text.push(',');
        }
        if answer != Answer::None {
            // Writing to a String cannot fail.
            let _ = write!(self.text, "{}", client.acks.next());
        }
        self.text.push_str("[\"");
        escape(self.mix.event(event), &mut self.text);
        self.text.push('"');
        start
    }

    /// Ends and sends an event packet.
    fn say(
        &mut self,
        client: &mut Client,
        start: usize,
        event: EventId,
        answer: Answer,
        meaning: Meaning,
    ) -> Flow {
        self.text.push(']');
        self.send(client, start);
        client.sequence += 1;
        let measured = self.is_measured(client.clock);
        self.figures.fresh.sent += 1;
        let figures = self.figures.event(event);
        figures.sent += 1;
        let Some(timeout) = answer.timeout() else {
            return Flow::On;
        };
        figures.asked += 1;
        let id = client.acks.expect(Pending {
            id: 0,
            event,
            since: client.clock,
            deadline: self.now + timeout.as_nanos() as u64,
            measured,
            meaning,
        });
        self.watch_acks(client);
        if let Answer::Await(_) = answer {
            client.acks.awaited = Some(id);
            return Flow::Stop;
        }
        Flow::On
    }

    fn room(&mut self, client: &mut Client, template: &Template) -> (String, u32) {
        let mut name = String::new();
        template.render(&mut client.values(self.timestamp()), &mut name);
        let number = self.rooms.number(&name);
        (name, number)
    }

    fn send(&mut self, client: &Client, start: usize) {
        self.acts.push(Act::Send {
            slot: client.slot,
            text: start..self.text.len(),
        });
    }

    /// An event of the contract, which the parser has listed if a step needs it.
    fn event(&self, name: &str) -> EventId {
        let index = self.mix.events.iter().position(|event| event == name);
        EventId(index.unwrap_or(0))
    }
}
