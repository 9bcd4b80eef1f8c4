//! The quirks of a registry, as data.

/// What a registry does differently from others. [`Profile::plain`] follows the specification; the rest are the
/// registries that people use, as far as their sources, documents and bug reports tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub name: &'static str,
    pub auth: Auth,
    /// Tokens for reading are given without a login.
    pub public: bool,
    pub location: Location,
    pub patch: Patch,
    pub resume: Resume,
    pub mount: Mount,
    pub children: Children,
    /// Whether an index may name an index.
    pub nested_index: bool,
    /// The referrers API is there; 404 otherwise.
    pub referrers: bool,
    /// What a tag named before is gone when the tag moves.
    pub overwrite_forgets: bool,
    /// A tag that exists keeps its digest: 412.
    pub immutable_tags: bool,
    /// Repositories are not made by pushing: 404 for those that are not in [`crate::fake::Registry::create`].
    pub must_exist: bool,
    /// Largest manifest, in bytes.
    pub manifest_limit: usize,
    /// An index without a top-level `mediaType` is refused, whatever its Content-Type.
    pub needs_media_type: bool,
    /// PUT of a manifest answers with a `Location`.
    pub manifest_location: bool,
    /// Tags are compared in lower case.
    pub folds_tags: bool,
    /// `n` and `last` of the tag list are honoured, with a `Link` to the rest.
    pub pages_tags: bool,
    /// Blobs are given by another host: 307.
    pub redirects_blobs: bool,
    /// Manifests are given only as a type that `Accept` names.
    pub needs_accept: bool,
    /// By the registry's own API.
    pub deletes: bool,
    pub errors: Errors,
}

/// Whom it lets in: user and password are those of [`crate::docker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    Open,
    Basic,
    Bearer {
        /// `expires_in`, in seconds.
        expires_in: Option<u64>,
        /// After so many requests a token has expired, whatever the clock.
        uses: Option<usize>,
        /// The token service is on another port.
        elsewhere: bool,
        /// Tokens are also given for a refresh token by POST; 404 otherwise.
        post: bool,
    },
}

/// Where upload sessions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// `http://HOST/v2/…`
    Absolute,
    /// `/v2/…`
    Relative,
    /// `SESSION`, relative to what was asked.
    NoSlash,
    /// Not under `/v2`.
    OtherPath,
    /// On another port, where nobody may send credentials.
    OtherHost,
}

/// What PATCH does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// Everything of any size, in order; `Content-Range` is ignored.
    Any,
    /// `Content-Range`, where it is sent, must continue what is there: 416 otherwise.
    Checked,
    /// As checked, and it must be sent after the first.
    Required,
    /// Larger bodies: 416.
    AtMost(usize),
    /// 201, and what comes after the first PATCH is lost.
    KeepsOnlyFirst,
    /// 405.
    Never,
}

/// What a session says of itself after a PATCH was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// The truth.
    Works,
    /// A `Location` from before the cut is good for nothing.
    StateIsChecked,
    /// `Range` is one too large, and there is no `Location`.
    OffByOne,
    /// The session is gone.
    Never,
}

/// What `?mount=` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    Works,
    /// 201, but the blob is not there.
    Lies,
    /// 400 without `from`.
    NeedsFrom,
    /// Any blob that any repository has.
    AnyRepository,
    /// Only what a manifest names.
    OnlyReferenced,
    /// 202, always.
    Never,
}

/// Whether the children of an index must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    MustExist,
    Unchecked,
}

/// The form of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errors {
    Json,
    Plain,
    Html,
    Empty,
}
