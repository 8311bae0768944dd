#![doc = include_str!("../README.md")]

mod collect;
mod config;
mod curves;
mod ema;
mod fit;
mod flex_update;
mod fold_state;
#[cfg(feature = "tch")]
mod libtorch_update;
mod loss;
mod metric;
mod optimizer;
mod pictures;
mod precision;
mod replicas;
mod run;
mod run_dir;
mod schedule;
mod step;
pub mod tensorboard;
mod tensors;

pub use collect::collect_folds;
pub use config::{EmaConfig, LossConfig, OptimizerConfig, TrainConfig};
pub use ema::{Ema, ema_of_count};
pub use fit::{EpochReport, FoldPlan, FoldReport, FoldStart, Observer, Silent, StepReport, fit_fold};
pub use loss::{
    LossTerm, LossTerms, bce_with_logits, dice_loss, edge_bce_with_logits, focal_with_logits,
    soft_bce_with_logits, symmetric_lovasz_hinge,
};
pub use metric::DiceMeter;
pub use optimizer::adamw;
pub use precision::{LossScale, Precision};
pub use replicas::{Division, Replicas, StepGradients};
pub use run::{RunPlace, RunReport, RunSettings, train_run};
pub use run_dir::{FoldDir, HistoryRow, RunDir};
pub use schedule::Schedule;
pub use step::{PassSettings, StepOutput, pass, train_step};
pub use tensors::{images_tensor, masks_tensor};
