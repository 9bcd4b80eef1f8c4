//! Several threads that work on one result.

use std::sync::{Mutex, PoisonError};

use pixi_oci_project::Session;

use crate::Error;

/// Work on several threads that ends together: the first failure stops all of it, and is the one that is reported.
pub struct Together {
    /// For all of the work.
    pub session: Session,
    failure: Mutex<Option<Error>>,
}

impl Together {
    /// Work for which nothing has gone wrong yet.
    pub fn new(session: &Session) -> Self {
        Self { session: session.part(), failure: Mutex::default() }
    }

    pub fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // What was stopped because of another failure says only that.
        if self.session.check().is_ok() && !matches!(error, Error::Interrupted) {
            *failure = Some(error);
        }
        self.session.stop();
    }

    /// What it failed with first, if a thread did.
    pub fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
