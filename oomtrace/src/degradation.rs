//! What is missing at the moment: a source that keeps trying sets it, and the status reports it.

use std::sync::{Arc, Mutex, PoisonError};

/// Where a source that keeps trying says what is missing meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Degradation(Arc<Mutex<Option<String>>>);

impl Degradation {
    /// This is missing from now on: what is lost by it, and why.
    pub fn say(&self, what: String) {
        self.set(Some(what));
    }

    /// Nothing is missing any more.
    pub fn recover(&self) {
        self.set(None);
    }

    /// What is missing now.
    #[must_use]
    pub fn now(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, what: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}
