//! PyTorch checkpoints for tests: `torch.save` of state dicts, in the container of before PyTorch 1.6.

use std::io::Write as _;
use std::path::Path;

use crate::recipe::Tensors;

/// What the checkpoint is like besides its tensors.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flavour {
    /// The weights are under `model_state`, beside an epoch and an optimiser's tensor.
    pub(crate) is_checkpoint: bool,
    /// Storages say that they were on a GPU.
    pub(crate) is_cuda: bool,
}

/// Writes tensors as the original's training program would have.
pub(crate) fn write(path: &Path, tensors: &Tensors, flavour: Flavour) {
    let mut file = Vec::new();
    // The magic number, the protocol of the container, and what the machine was like.
    file.extend(*b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
    file.extend(*b"\x80\x02M\xe9\x03.");
    file.extend(*b"\x80\x02}(");
    string(&mut file, "little_endian");
    file.extend(*b"\x88u.");

    let mut storages: Vec<(String, &[f32])> = Vec::new();
    file.extend(*b"\x80\x02");
    if flavour.is_checkpoint {
        file.extend(*b"}(");
        string(&mut file, "epoch");
        file.extend(*b"K\x25");
        string(&mut file, "model_state");
    }
    file.extend(*b"ccollections\nOrderedDict\n)R(");
    for (idx, (name, (shape, values))) in tensors.iter().enumerate() {
        let key = (94_000_000_000_000 + idx * 64).to_string();
        string(&mut file, name);
        tensor(&mut file, &key, shape, values.len(), flavour.is_cuda);
        storages.push((key, values));
    }
    file.push(b'u');
    let moment = [0.25; 3];
    if flavour.is_checkpoint {
        string(&mut file, "opt_state");
        file.extend(*b"}(");
        string(&mut file, "exp_avg");
        tensor(&mut file, "7", &[3], 3, flavour.is_cuda);
        storages.push(("7".to_owned(), &moment));
        file.extend(*b"uu");
    }
    file.push(b'.');

    file.extend(*b"\x80\x02](");
    for (key, _) in &storages {
        string(&mut file, key);
    }
    file.extend(*b"e.");
    for (_, values) in storages {
        file.extend((values.len() as i64).to_le_bytes());
        file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    std::fs::File::create(path).unwrap().write_all(&file).unwrap();
}

fn string(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn integer(pickle: &mut Vec<u8>, value: usize) {
    pickle.push(b'J');
    pickle.extend((value as i32).to_le_bytes());
}

/// `torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
fn tensor(pickle: &mut Vec<u8>, key: &str, shape: &[usize], n: usize, is_cuda: bool) {
    pickle.extend(*b"ctorch._utils\n_rebuild_tensor_v2\n((");
    string(pickle, "storage");
    pickle.extend(*b"ctorch\nFloatStorage\n");
    string(pickle, key);
    string(pickle, if is_cuda { "cuda:0" } else { "cpu" });
    integer(pickle, n);
    pickle.extend(*b"NtQ");
    integer(pickle, 0);
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    for extents in [shape.to_vec(), (0..shape.len()).map(stride).collect()] {
        pickle.push(b'(');
        for extent in extents {
            integer(pickle, extent);
        }
        pickle.push(b't');
    }
    pickle.extend(*b"\x89ccollections\nOrderedDict\n)RtR");
}
