//! Memory of feature maps, used again from layer to layer and from tile to tile.

use std::sync::{Mutex, PoisonError};

use aligned_vec::AVec;
use hubmap_kernels::{Extent, Images, KernelError};

/// Feature maps of one image.
#[derive(Debug)]
pub(super) struct Features {
    data: AVec<f32>,
    extent: Extent,
}

impl Features {
    pub(super) const fn extent(&self) -> Extent {
        self.extent
    }

    pub(super) fn images(&self) -> Result<Images<'_>, KernelError> {
        Images::new(&self.data, self.extent)
    }

    pub(super) fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }
}

/// Feature maps that are free to be used again.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Vec<AVec<f32>>,
    /// Weights of gated convolutions.
    pub(super) gated: Vec<f32>,
}

impl Buffers {
    /// Feature maps with any numbers in them.
    pub(super) fn take(&mut self, extent: Extent) -> Features {
        let len = extent.len();
        // The smallest that is large enough, else the largest, which then grows least.
        let best = (0..self.free.len()).min_by_key(|&index| {
            let capacity = self.free[index].capacity();
            if capacity >= len { (0, capacity) } else { (1, usize::MAX - capacity) }
        });
        let mut data = match best {
            Some(index) => self.free.swap_remove(index),
            None => AVec::new(0),
        };
        if data.capacity() < len {
            // Growing would copy what nobody needs.
            data = AVec::with_capacity(0, len);
        }
        data.resize(len, 0.0);
        Features { data, extent }
    }

    pub(super) fn give_back(&mut self, features: Features) {
        self.free.push(features.data);
    }
}

/// Buffers of the forward passes that run at the same time.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Mutex<Vec<Buffers>>);

impl BufferPool {
    /// Runs `work` with buffers that no other thread uses meanwhile.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Buffers) -> T) -> T {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffers = taken.unwrap_or_default();
        let result = work(&mut buffers);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
        result
    }
}
