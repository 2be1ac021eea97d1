"""What is taken as numbers at the public surface."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.errors import FilterError
from scalekeys.shapes import as_float_tensor

VALUES = [[1, 2], [3, 4]]


def test_an_array_is_shared_and_not_copied():
    array = np.array(VALUES, dtype=np.float32)
    tensor = as_float_tensor(array)
    array[0, 0] = 9
    assert tensor[0, 0] == 9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_tensor_in_single_or_double_precision_is_taken_itself(dtype):
    tensor = torch.ones(2, dtype=dtype)
    assert as_float_tensor(tensor) is tensor


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.int8, torch.float64),
        (torch.int64, torch.float64),
        (torch.bool, torch.float64),
    ],
    ids=str,
)
def test_other_tensors_are_converted_to_a_type_that_holds_them(dtype, expected):
    tensor = as_float_tensor(torch.ones(2, dtype=dtype))
    assert (tensor.dtype, tensor.tolist()) == (expected, [1, 1])


@pytest.mark.parametrize("code", ["<f4", ">f4", ">f8", "<f2", "g", "u1", ">i4", "u8"])
def test_arrays_of_any_real_type_and_byte_order_are_taken(code):
    array = np.array(VALUES, dtype=code)
    tensor = as_float_tensor(array)
    assert tensor.tolist() == VALUES
    assert tensor.dtype == (torch.float32 if code in ("<f4", ">f4", "<f2") else torch.float64)


def test_a_read_only_array_is_copied_without_a_warning():
    array = np.array(VALUES, dtype=np.float64)
    array.flags.writeable = False
    tensor = as_float_tensor(array)
    tensor[0, 0] = 9
    assert array[0, 0] == 1


def test_views_with_steps_and_turns_are_taken():
    array = np.arange(16.0).reshape(4, 4)[::-2, ::2].T
    assert as_float_tensor(array).tolist() == array.tolist()


def test_a_single_number_has_no_axes():
    assert as_float_tensor(np.array(2.0)).shape == ()


@pytest.mark.parametrize("values", [np.array([1j]), np.array(["a"]), np.array([None]), torch.tensor([1j])], ids=str)
def test_what_is_no_real_number_is_refused_by_its_type(values):
    with pytest.raises(FilterError, match=r"expected (an array of )?real numbers, got"):
        as_float_tensor(values)


@pytest.mark.parametrize(
    ("filters", "match"),
    [(torch.ones(2, 5, 5, device="meta"), "without values, on the meta device"), (torch.eye(5).to_sparse(), "sparse")],
)
def test_filters_without_values_or_in_sparse_layouts_are_refused(filters, match):
    for function in (sk.fit, sk.assign_keys, sk.dc_offset, sk.spread):
        with pytest.raises(FilterError, match=f"expected a dense tensor of filters, got one .*{match}"):
            function(filters)


def test_no_filters_have_no_offsets():
    assert sk.dc_offset(torch.ones(0, 5, 5)).shape == (0,)
