//! The first exchange with a machine: what it is, and its lock in the same program.

use crate::facts::Facts;
use crate::failure::{Failure, Result};
use crate::host::Host;
use crate::transport::TransportError;

impl Host {
    /// Reads the facts, and takes the lock where the run is going to change anything. Connecting is tried again by the
    /// transport itself; a lost answer is asked for once more.
    ///
    /// # Errors
    /// The machine cannot be reached, or somebody else holds its lock.
    pub(crate) async fn first_exchange(&self) -> Result<()> {
        match self.read_facts().await {
            Err(Failure::Transport(error))
                if error.is_transient() && !matches!(error, TransportError::Unreachable { .. }) =>
            {
                self.retry("reading facts", &error, 1, 2).await;
                self.read_facts().await
            }
            result => result,
        }
    }

    async fn read_facts(&self) -> Result<()> {
        let lock = self.lock_to_take().await;
        let mut scripts = vec![Facts::script()];
        scripts.extend(lock.script());
        let mut answers = self.query_all(&scripts).await?.into_iter();
        // A second reading, after the connection was lost, finds the same machine.
        self.know(Facts::parse(&answers.next().unwrap_or_default().output));
        match answers.next() {
            Some(answer) => lock.answered(answer).await,
            None => Ok(()),
        }
    }
}
