//! The connections of arcad. There may be several, such as of an old arcad that hangs and a new one.

use arca_shim_proto::{Channel, Event, Frame, FrameKind, Request, Response};

use super::{Shim, complain};
use crate::poller::{READ, Token, WRITE};

/// An arcad that leaves so many frames unread hangs: it can connect anew when it is well.
const MOST_QUEUED: usize = 4096;

/// A connection of arcad.
pub(super) struct Connection {
    channel: Channel,
    /// It has said hello, and hears events.
    pub(super) listens: bool,
    /// Writing is registered with the poller.
    waits: bool,
}

impl Connection {
    /// Has it taken everything that was sent?
    pub(super) fn is_flushed(&self) -> bool {
        !self.channel.wants_write()
    }
}

impl Shim {
    /// Takes a new connection in.
    pub(crate) fn accept(&mut self, channel: Channel) -> std::io::Result<()> {
        let number = self.number();
        self.poller.add(&channel, Token::Connection(number), READ)?;
        let connection = Connection {
            channel,
            listens: false,
            waits: false,
        };
        self.connections.insert(number, connection);
        Ok(())
    }

    pub(super) fn accept_all(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let accepted = Channel::new(stream.into()).and_then(|channel| self.accept(channel));
            if let Err(error) = accepted {
                complain("a connection cannot be accepted", &error);
            }
        }
    }

    /// Reads and answers what has come over a connection.
    pub(super) fn serve_connection(&mut self, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        if let Err(error) = connection.channel.fill() {
            complain("a connection failed", &error);
            self.disconnect(number);
            return;
        }
        while let Some(connection) = self.connections.get_mut(&number) {
            match connection.channel.next_frame() {
                Ok(Some((frame, descriptors))) if frame.kind == FrameKind::Request => {
                    if let Some(response) = self.answer(number, &frame, descriptors) {
                        self.respond(number, frame.number, &response);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    complain("a connection is of no use", &error);
                    self.disconnect(number);
                }
            }
        }
        if self
            .connections
            .get(&number)
            .is_some_and(|connection| connection.channel.is_closed())
        {
            self.disconnect(number);
        } else {
            self.flush(number);
        }
    }

    fn disconnect(&mut self, number: u32) {
        if let Some(connection) = self.connections.remove(&number) {
            self.poller.remove(&connection.channel);
        }
    }

    /// Marks a connection as one that hears events.
    pub(super) fn listen_to(&mut self, number: u32) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.listens = true;
        }
    }

    /// Is there anybody who hears events?
    pub(super) fn is_heard(&self) -> bool {
        self.connections
            .values()
            .any(|connection| connection.listens)
    }

    /// Answers a request.
    pub(super) fn respond(&mut self, connection: u32, number: u64, response: &Response) {
        match Frame::encode(FrameKind::Response, number, response) {
            Ok(frame) => self.send(connection, &frame),
            Err(error) => complain("an answer cannot be encoded", &error),
        }
    }

    /// Tells all that listen.
    pub(super) fn tell(&mut self, event: &Event) {
        let listening: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.listens)
            .map(|(number, _)| *number)
            .collect();
        for number in listening {
            self.tell_one(number, event);
        }
    }

    /// Tells one.
    pub(super) fn tell_one(&mut self, connection: u32, event: &Event) {
        match Frame::encode(FrameKind::Event, 0, event) {
            Ok(frame) => self.send(connection, &frame),
            Err(error) => complain("an event cannot be encoded", &error),
        }
    }

    fn send(&mut self, number: u32, frame: &Frame) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        if connection.channel.queued() > MOST_QUEUED {
            eprintln!("a connection takes nothing any more and is closed");
            self.disconnect(number);
            return;
        }
        match connection.channel.push(frame, Vec::new()) {
            Ok(()) => self.flush(number),
            Err(error) => complain("a frame cannot be sent", &error),
        }
    }

    /// Sends what is queued, and waits for the socket when it takes no more.
    fn flush(&mut self, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let mut outcome = connection.channel.flush().map_err(std::io::Error::other);
        let waits = connection.channel.wants_write();
        if outcome.is_ok() && waits != connection.waits {
            connection.waits = waits;
            let flags = if waits { READ | WRITE } else { READ };
            outcome = self
                .poller
                .change(&connection.channel, Token::Connection(number), flags);
        }
        if outcome.is_err() {
            // arcad is gone; the next one connects anew.
            self.disconnect(number);
        }
    }

    /// Reads a request, if it is one that this version knows.
    pub(super) fn request(frame: &Frame) -> Result<Request, String> {
        frame.decode().map_err(|error| arca_types::chain(&error))
    }
}
