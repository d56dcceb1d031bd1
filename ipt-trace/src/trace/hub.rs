//! Sends every message to all consumers, none of which can hold up the trace.

use std::{
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::event::Message;

/// How long a consumer that is behind is waited for at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// All consumers.
#[derive(Debug, Default)]
pub struct Hub {
    outlets: Vec<Outlet>,
}

/// The way to one consumer.
#[derive(Debug)]
struct Outlet {
    name: &'static str,
    sender: SyncSender<Message>,
    /// Messages that it did not get and has not been told of.
    untold: u64,
    /// All messages that it did not get.
    dropped: u64,
    gone: bool,
}

impl Hub {
    /// Adds a consumer that reads the messages on a thread of its own. When more than `room` of them
    /// wait, further ones are dropped, and it gets [`Message::Dropped`] in their place.
    pub fn subscribe(&mut self, name: &'static str, room: usize) -> Receiver<Message> {
        let (sender, receiver) = sync_channel(room);
        self.outlets.push(Outlet {
            name,
            sender,
            untold: 0,
            dropped: 0,
            gone: false,
        });
        receiver
    }

    /// Sends a message to all consumers, without waiting for any.
    pub fn publish(&mut self, message: &Message) {
        for outlet in &mut self.outlets {
            outlet.send(message.clone());
        }
    }

    /// How many messages each consumer did not get, of those that missed any.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let behind = self.outlets.iter().filter(|outlet| outlet.dropped > 0);
        behind.map(|outlet| (outlet.name, outlet.dropped))
    }

    /// Sends the last message, which a consumer that is behind is waited for a moment for. Says who
    /// did not get it.
    pub fn end(mut self, message: &Message) -> Vec<&'static str> {
        let deadline = Instant::now() + PATIENCE;
        let mut stuck = Vec::new();
        for outlet in &mut self.outlets {
            if !outlet.send_until(message, deadline) {
                stuck.push(outlet.name);
            }
        }
        stuck
    }
}

impl Outlet {
    fn send(&mut self, message: Message) {
        if self.gone || (self.untold > 0 && !self.tell()) {
            self.drop_one();
            return;
        }
        match self.sender.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.drop_one(),
            Err(TrySendError::Disconnected(_)) => self.gone = true,
        }
    }

    /// Says how many messages are missing, if there is room for it.
    fn tell(&mut self) -> bool {
        let told = self.sender.try_send(Message::Dropped(self.untold)).is_ok();
        if told {
            self.untold = 0;
        }
        told
    }

    /// Whoever has gone by itself misses nothing.
    fn drop_one(&mut self) {
        if !self.gone {
            self.untold += 1;
            self.dropped += 1;
        }
    }

    fn send_until(&mut self, message: &Message, deadline: Instant) -> bool {
        loop {
            if (self.untold == 0 || self.tell()) && self.try_last(message) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn try_last(&self, message: &Message) -> bool {
        !matches!(
            self.sender.try_send(message.clone()),
            Err(TrySendError::Full(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Hub;
    use crate::trace::event::Message;

    fn kinds(received: impl Iterator<Item = Message>) -> Vec<String> {
        received
            .map(|message| match message {
                Message::Rotate => "message".to_owned(),
                Message::Dropped(count) => format!("{count} dropped"),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_slow_consumer_is_told_what_it_missed_and_holds_up_nobody() {
        let mut hub = Hub::default();
        let slow = hub.subscribe("slow", 2);
        let fast = hub.subscribe("fast", 8);
        for _ in 0..5 {
            hub.publish(&Message::Rotate);
        }
        assert_eq!(kinds(slow.try_iter()), ["message", "message"]);
        hub.publish(&Message::Rotate);
        assert_eq!(kinds(slow.try_iter()), ["3 dropped", "message"]);
        assert_eq!(kinds(fast.try_iter()).len(), 6);
        assert_eq!(hub.dropped().collect::<Vec<_>>(), [("slow", 3)]);
    }

    #[test]
    fn a_stuck_consumer_does_not_keep_the_end_from_coming() {
        let mut hub = Hub::default();
        let _stuck = hub.subscribe("stuck", 1);
        let gone = hub.subscribe("gone", 1);
        drop(gone);
        hub.publish(&Message::Rotate);
        hub.publish(&Message::Rotate);
        assert_eq!(hub.end(&Message::Rotate), ["stuck"]);
    }
}
