//! What a role tells the user of a run, besides what its steps do.

use crate::event::Event;
use crate::host::Host;

impl Host {
    /// Something the user should know, which stops nothing.
    pub fn warn(&self, text: impl Into<String>) {
        self.send(Event::Warning { host: Some(self.name().to_owned()), text: text.into() });
    }

    /// Something of the cluster that the user should look after, whichever host has found it out.
    pub fn warn_of_cluster(&self, text: impl Into<String>) {
        self.send(Event::Warning { host: None, text: text.into() });
    }

    /// Something the user should know of the run, and need not do anything about.
    pub fn tell(&self, text: impl Into<String>) {
        self.send(Event::Told { host: self.name().to_owned(), text: text.into() });
    }

    /// Something that was tried out and works, for the end of the run.
    pub fn tested(&self, what: impl Into<String>) {
        self.send(Event::Tested { host: self.name().to_owned(), what: what.into() });
    }
}
