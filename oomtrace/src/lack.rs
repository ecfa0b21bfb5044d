//! What is lacking at the moment: whoever goes on trying says it, and the status tells it.

use std::sync::{Arc, Mutex, PoisonError};

/// Where one of those who go on trying says what it lacks.
#[derive(Clone, Debug, Default)]
pub struct Lack(Arc<Mutex<Option<String>>>);

impl Lack {
    /// This is lacking from now on: what is lost by it, and why.
    pub fn say(&self, what: String) {
        self.set(Some(what));
    }

    /// Nothing is lacking any more.
    pub fn made_good(&self) {
        self.set(None);
    }

    /// What is lacking now.
    #[must_use]
    pub fn now(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, what: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}
