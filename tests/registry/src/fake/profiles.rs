//! The registries that people use. What is not known of one is as in the specification.

use super::profile::{Auth, Children, Errors, Location, Mount, Patch, Profile, Resume};

/// Tokens from the registry's own host.
const TOKENS: Auth = Auth::Bearer { expires_in: Some(300), uses: None, elsewhere: false, post: true };
/// Tokens from another host.
const TOKENS_ELSEWHERE: Auth = Auth::Bearer { expires_in: Some(300), uses: None, elsewhere: true, post: true };

impl Profile {
    /// As in the specification, open to everybody.
    pub fn plain() -> Self {
        Self {
            name: "plain",
            auth: Auth::Open,
            public: false,
            location: Location::Absolute,
            patch: Patch::Checked,
            resume: Resume::Works,
            mount: Mount::Works,
            children: Children::MustExist,
            nested_index: true,
            referrers: false,
            overwrite_forgets: false,
            immutable_tags: false,
            must_exist: false,
            manifest_limit: 4 << 20,
            needs_media_type: false,
            manifest_location: true,
            folds_tags: false,
            pages_tags: true,
            redirects_blobs: false,
            needs_accept: true,
            deletes: true,
            errors: Errors::Json,
        }
    }

    /// Debian's docker-registry.
    pub fn distribution_2_8() -> Self {
        Self {
            name: "distribution 2.8.2",
            patch: Patch::Any,
            resume: Resume::StateIsChecked,
            pages_tags: false,
            ..Self::plain()
        }
    }

    pub fn distribution_3_1() -> Self {
        Self { name: "distribution 3.1.1", ..Self::plain() }
    }

    pub fn gitea() -> Self {
        Self {
            name: "gitea",
            // No lifetime is said.
            auth: Auth::Bearer { expires_in: None, uses: None, elsewhere: false, post: false },
            location: Location::Relative,
            patch: Patch::Required,
            nested_index: false,
            overwrite_forgets: true,
            manifest_limit: 10 << 20,
            folds_tags: true,
            needs_accept: false,
            ..Self::plain()
        }
    }

    /// Before mounting was mended: 201, and nothing is there.
    pub fn gitea_old() -> Self {
        Self { name: "gitea, old", mount: Mount::Lies, ..Self::gitea() }
    }

    pub fn forgejo() -> Self {
        Self { name: "forgejo", patch: Patch::Checked, resume: Resume::OffByOne, ..Self::gitea() }
    }

    pub fn ghcr() -> Self {
        Self {
            name: "ghcr",
            auth: TOKENS,
            location: Location::Relative,
            patch: Patch::AtMost(4 << 20),
            resume: Resume::Never,
            children: Children::Unchecked,
            redirects_blobs: true,
            deletes: false,
            ..Self::plain()
        }
    }

    /// Everybody may read, as with most images there.
    pub fn ghcr_public() -> Self {
        Self { name: "ghcr, public", public: true, ..Self::ghcr() }
    }

    pub fn docker_hub() -> Self {
        Self {
            name: "docker hub",
            auth: TOKENS_ELSEWHERE,
            children: Children::Unchecked,
            redirects_blobs: true,
            errors: Errors::Plain,
            ..Self::plain()
        }
    }

    pub fn harbor() -> Self {
        Self {
            name: "harbor",
            auth: TOKENS,
            location: Location::Relative,
            immutable_tags: true,
            must_exist: true,
            referrers: true,
            ..Self::distribution_2_8()
        }
    }

    pub fn quay() -> Self {
        Self {
            name: "quay",
            auth: Auth::Bearer { expires_in: Some(60), uses: Some(10), elsewhere: false, post: true },
            mount: Mount::NeedsFrom,
            referrers: true,
            redirects_blobs: true,
            ..Self::plain()
        }
    }

    pub fn ecr() -> Self {
        Self {
            name: "ecr",
            auth: Auth::Basic,
            patch: Patch::KeepsOnlyFirst,
            resume: Resume::Never,
            mount: Mount::OnlyReferenced,
            referrers: true,
            must_exist: true,
            needs_media_type: true,
            manifest_location: false,
            redirects_blobs: true,
            ..Self::plain()
        }
    }

    pub fn gar() -> Self {
        Self {
            name: "gar",
            auth: TOKENS,
            location: Location::OtherPath,
            patch: Patch::Never,
            resume: Resume::Never,
            referrers: true,
            errors: Errors::Html,
            ..Self::plain()
        }
    }

    pub fn gitlab() -> Self {
        Self { name: "gitlab", auth: TOKENS_ELSEWHERE, location: Location::OtherHost, ..Self::plain() }
    }

    pub fn zot() -> Self {
        Self {
            name: "zot",
            auth: Auth::Basic,
            location: Location::Relative,
            resume: Resume::Never,
            mount: Mount::AnyRepository,
            referrers: true,
            overwrite_forgets: true,
            needs_accept: false,
            ..Self::plain()
        }
    }

    /// No registry in particular: every place where a relative reference may be resolved wrongly.
    pub fn relative() -> Self {
        Self { name: "relative locations", location: Location::NoSlash, errors: Errors::Empty, ..Self::plain() }
    }

    /// All of them.
    pub fn all() -> Vec<Self> {
        vec![
            Self::plain(),
            Self::relative(),
            Self::distribution_2_8(),
            Self::distribution_3_1(),
            Self::gitea(),
            Self::gitea_old(),
            Self::forgejo(),
            Self::ghcr(),
            Self::docker_hub(),
            Self::harbor(),
            Self::quay(),
            Self::ecr(),
            Self::gar(),
            Self::gitlab(),
            Self::zot(),
        ]
    }
}
