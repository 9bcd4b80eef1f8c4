//! What goes wrong, and when.

use super::{log::Entry, route::Kind};
use crate::http::Response;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not done; this is the answer.
    Answer(Response),
    /// Not done, answered before the body was read, and the connection ends.
    AnswerEarly(Response),
    /// Done; this is the answer all the same.
    DoneBut(Response),
    /// The connection is reset and no other is taken until [`super::Registry::listen_again`].
    Refuse,
    /// The connection is reset before the body was read.
    ResetBefore,
    /// Done, and the connection is reset before a byte of the answer.
    ResetAfter,
    /// The connection is reset after so many bytes of the request's body.
    CutUpload(u64),
    /// Done; the connection is reset after so many bytes of the answer's body.
    CutAnswer(usize),
    /// Not done, and no answer ever.
    Stall,
    /// Done; the head of the answer comes, the body does not.
    StallAnswer,
    /// Done; the answer comes one byte at a time.
    Trickle,
    /// Done in a way, and answered as if it were done well.
    Lie(Lie),
    /// One of these, at random.
    OneOf(Vec<Fault>),
}

/// Answers with a good status that are not true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// What is put is dropped.
    StoreNothing,
    /// One byte of what is put, or given, is another.
    OtherBytes,
    /// `Docker-Content-Digest` is that of something else.
    WrongDigest,
    /// The manifest is stored; the tag stays where it was.
    TagStays,
    /// 200 with nothing, whatever was asked.
    YesToEverything,
}

/// A fault and the requests that it meets. A request meets the first rule that fits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of any kind if `None`.
    pub kind: Option<Kind>,
    /// The request's target contains this text.
    pub target: String,
    /// So many fitting requests pass before.
    pub skip: usize,
    /// So many requests meet it.
    pub times: usize,
    /// Of a thousand fitting requests so many meet it.
    pub per_mille: u32,
    pub fault: Fault,
}

impl Rule {
    /// The next request of this kind meets the fault.
    pub fn once(kind: Kind, fault: Fault) -> Self {
        Self { kind: Some(kind), target: String::new(), skip: 0, times: 1, per_mille: 1000, fault }
    }

    /// All requests of this kind do.
    pub fn always(kind: Kind, fault: Fault) -> Self {
        Self { times: usize::MAX, ..Self::once(kind, fault) }
    }

    /// Whether it meets the request; counts it if it fits.
    pub(super) fn meets(&mut self, entry: &Entry, random: impl FnOnce() -> u64) -> bool {
        let fits = self.kind.is_none_or(|kind| kind == entry.kind) && entry.target.contains(&self.target);
        if !fits || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.per_mille < 1000 && random() % 1000 >= u64::from(self.per_mille) {
            return false;
        }
        self.times = self.times.saturating_sub(usize::from(self.times != usize::MAX));
        true
    }
}
