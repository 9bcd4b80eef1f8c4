//! Why a product cannot be made or installed.

/// Every error names the thing and the reason; most say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Plan(pixi_oci_plan::Error),
    #[error(transparent)]
    Request(#[from] crate::ProductRequestError),
}

/// All that a plan can say, and what is below it.
impl<E: Into<pixi_oci_plan::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Plan(error.into())
    }
}
