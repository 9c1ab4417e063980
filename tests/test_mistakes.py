"""Promises about a newcomer's mistakes: each is answered by one true line that says what was asked, found, and what to do.

The lines were collected as people make them: wrong paths, names from other tools, options of other commands, files of another
kind. Where a picture among several is bad, each has its line. "…" stands for what torch or the machine says.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from deconvnet.drawings import draw

#: What was typed after `deconvnet`, the exit code, and what was answered.
MISTAKES = [
    ("projct cat.png", 2, "Error: no command 'projct'. Did you mean 'project'? See: deconvnet --help"),
    ("project nofile.jpg", 1, "PictureError: cannot open 'nofile.jpg': there is no such file or folder. Check the path."),
    (
        "project https://example.org/cat.jpg",
        1,
        "PictureError: cannot open 'https://example.org/cat.jpg': it is an address, not a file. Download the picture, and give its file.",
    ),
    (
        'project "~/cat.png"',
        1,
        "PictureError: cannot open '~/cat.png': there is no such file or folder. Write '/home/you/cat.png': a ~ in quotes is not your home folder.",
    ),
    (
        "project text.jpg",
        1,
        "PictureError: cannot open 'text.jpg': it is a text, which is not read as a picture. Convert it to PNG or JPEG.",
    ),
    (
        "project empty",
        1,
        "PictureError: no pictures in 'empty'. Looked in it and below for .apng, .avif, .bmp, .gif, .j2k, .jfif, .jp2, .jpe, .jpeg, .jpg, .pbm, .pgm, .png, .pnm, .ppm, .tif, .tiff, .webp.",
    ),
    (
        "project net.py",
        1,
        "PictureError: cannot open 'net.py': it is a text, which is not read as a picture. Convert it to PNG or JPEG.",
    ),
    (
        "project cat.png --model alexnet",
        1,
        "UnknownModelError: 'alexnet' is not a model. Did you mean 'torchvision:alexnet'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    ),
    (
        "project cat.png --model resnet50",
        1,
        "UnknownModelError: 'resnet50' is not a model. Did you mean 'torchvision:resnet50'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    ),
    (
        "project cat.png --model torchvision:alexnt",
        1,
        "UnknownModelError: 'torchvision:alexnt' is not a model of torchvision … Did you mean 'torchvision:alexnet'?",
    ),
    (
        "project cat.png --model torchvision/alexnet",
        1,
        "UnknownModelError: 'torchvision/alexnet' is not a model. Did you mean 'torchvision:alexnet'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    ),
    (
        "project cat.png --model AlexNet",
        1,
        "UnknownModelError: 'AlexNet' is not a model. Did you mean 'torchvision:alexnet'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    ),
    (
        "project cat.png --model Torchvision:alexnet",
        1,
        "UnknownModelError: 'Torchvision:alexnet' is not a model. Did you mean 'torchvision:alexnet'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    ),
    (
        "project cat.png --model nosuchnet",
        1,
        "UnknownModelError: 'nosuchnet' is not a model. Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    ),
    (
        "project cat.png --model net.py",
        1,
        "UnknownModelError: 'net.py' is not a model. Did you mean 'file:net.py:FUNCTION'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    ),
    (
        "project cat.png --model net.py:make",
        1,
        "UnknownModelError: 'net.py:make' is not a model. Did you mean 'file:net.py:make'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    ),
    (
        "project cat.png --model file:net.py",
        1,
        "UnknownModelError: 'file:net.py' names no function. Write file:PATH.py:FUNCTION, as in file:net.py:make.",
    ),
    ("project cat.png --model file:net.py:mak", 1, "UnknownModelError: 'net.py' has no function 'mak'. Did you mean 'make'?"),
    (
        "project cat.png --model file:broken.py:make",
        1,
        "UnknownModelError: 'broken.py' could not be run (line 1: SyntaxError: invalid syntax).",
    ),
    (
        "project cat.png --weights nofile.pt",
        1,
        "WeightsError: no weights file at 'nofile.pt'. Give DEFAULT, none, or a .safetensors or state-dict file.",
    ),
    (
        "project cat.png --weights bad.pt",
        1,
        "WeightsError: 'bad.pt' is a JSON text, not a weights file of torch. Give a .safetensors or state-dict file.",
    ),
    (
        "project cat.png --weights cat.png",
        1,
        "WeightsError: 'cat.png' is a PNG picture, not a weights file of torch. Give a .safetensors or state-dict file.",
    ),
    (
        "project cat.png --layer conv9",
        1,
        "UnknownLayerError: 'conv9' is not a layer of tiny. Did you mean 'conv5' or 'conv4' or 'conv3'? See: deconvnet layers tiny",
    ),
    (
        "project cat.png --layer Features.9",
        1,
        "UnknownLayerError: 'Features.9' is not a layer of tiny. Did you mean 'features.9' or 'features.8' or 'features.7'? See: deconvnet layers tiny",
    ),
    (
        "project cat.png --layer features.99",
        1,
        "UnknownLayerError: 'features.99' is not a layer of tiny. Did you mean 'features.9' or 'features.8' or 'features.7'? See: deconvnet layers tiny",
    ),
    ("project cat.png --layer 3", 1, "UnknownLayerError: '3' is not a layer of tiny. See: deconvnet layers tiny"),
    ("project cat.png --channel 500", 1, "UnitError: layer 'features.9' has no channel 500: it has 96, numbered from 0."),
    (
        "project cat.png --channel -1",
        1,
        "UnitError: '-1' is not a list of channels. Write numbers and ranges, as in 3 or 1,4-6.",
    ),
    (
        "project cat.png --channel x",
        1,
        "OptionError: 'x' is neither channels, such as 3 or 1,4-6, nor a class of tiny. Give numbers or a class.",
    ),
    (
        "project cat.png --top 0",
        2,
        "Error: Invalid value for '--top': 0 is not in the range x>=1. See: deconvnet project --help",
    ),
    (
        "project cat.png --tone gray",
        2,
        "Error: Invalid value for '--tone': 'gray' is not one of 'soft', 'symmetric', 'shared', 'grey', 'minmax', 'positive', 'magnitude', 'sigmoid'. Did you mean 'grey'? See: deconvnet project --help",
    ),
    (
        "project cat.png --tone blue",
        2,
        "Error: Invalid value for '--tone': 'blue' is not one of 'soft', 'symmetric', 'shared', 'grey', 'minmax', 'positive', 'magnitude', 'sigmoid'. See: deconvnet project --help",
    ),
    (
        "project cat.png --rule backprop",
        2,
        "Error: Invalid value for '--rule': 'backprop' is not auto, deconvnet, guided, gradient, or three bits such as FTT. See: deconvnet project --help",
    ),
    ("project cat.png --at 50,50", 1, "UnitError: layer 'features.9' has no position 50,50: its maps are 11x11, from 0,0."),
    (
        "project cat.png --out x.gif",
        1,
        "OptionError: cannot save 'x.gif': the suffix is '.gif'. Use one of .png, .jpg, .jpeg, .pdf, .npz.",
    ),
    (
        "project cat.png --out nofolder/x.png",
        1,
        "OptionError: cannot write 'nofolder/x.png': there is no folder 'nofolder'. Make it first.",
    ),
    (
        'project cat.png --out "~/x.png"',
        1,
        "OptionError: cannot write '~/x.png': there is no folder '~'. Write '/home/you/x.png'.",
    ),
    ("project cat.png --size 600", 1, "PictureError: tiny cannot take images of 3x600x600 (…). Its own size is 3x96x96."),
    ("project cat.png --size 10", 1, "PictureError: tiny cannot take images of 3x10x10 (…). Its own size is 3x96x96."),
    (
        "project cat.png --mean 124,116,104",
        1,
        "OptionError: mean cannot be 124: it is on the scale 0..1. Divide numbers of 0..255 by 255.",
    ),
    ("project cat.png --mean 0.5", 1, "OptionError: tiny takes a mean of 3 numbers, one for each channel; found 1: 0.5."),
    (
        "project cat.png --json units.txt",
        2,
        "Error: Invalid value for '--json': 'units.txt' does not end in .json. For stdout, write --json as the last option, or --json=-. See: deconvnet project --help",
    ),
    (
        "project bad --out s/",
        1,
        "PictureError: cannot open 'bad/a.jpg': it is a text, which is not read as a picture. Convert it to PNG or JPEG.\nPictureError: cannot open 'bad/b.png': it is a text, which is not read as a picture. Convert it to PNG or JPEG.\nPictureError: 2 of 2 pictures could not be read.",
    ),
    (
        "project cat.png --device gpu",
        2,
        "Error: Invalid value for '--device': 'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'. Did you mean 'cpu'? See: deconvnet project --help",
    ),
    (
        "project cat.png --scale 0",
        2,
        "Error: Invalid value for '--scale': 0.0 is not in the range x>0. See: deconvnet project --help",
    ),
    (
        "project cat.png --tile 2",
        2,
        "Error: Invalid value for '--tile': 2 is not in the range x>=8. See: deconvnet project --help",
    ),
    (
        "layers nosuch",
        1,
        "UnknownModelError: 'nosuch' is not a model. Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    ),
    (
        "layers tiny --mirror conv7",
        1,
        "UnknownLayerError: 'conv7' is not a layer of tiny. Did you mean 'conv5' or 'conv4' or 'conv3'? See: deconvnet layers tiny",
    ),
    (
        "top nofile.scan -l conv2 -c 1",
        1,
        "StoreError: there is no scan at 'nofile.scan'. Make one: deconvnet scan PICTURES --out nofile.scan",
    ),
    ("top a.scan", 2, "Error: Missing option '--channel' / '-c'. See: deconvnet top --help"),
    ("top a.scan -l conv3 -c 1", 1, "UnknownLayerError: 'a.scan' has no layer 'conv3'. Scanned: features.5, features.13."),
    ("top a.scan -l conv2", 2, "Error: Missing option '--channel' / '-c'. See: deconvnet top --help"),
    ("top a.scan -l conv2 -c 999", 1, "UnitError: layer 'features.5' has no channel 999: it has 64, numbered from 0."),
    ("plate a.scan --layer conv1", 1, "UnknownLayerError: 'a.scan' has no layer 'conv1'. Scanned: features.5, features.13."),
    (
        "plate cat.png --layer conv1",
        1,
        "StoreError: 'cat.png' is not a scan: it is a PNG picture. Give a file that deconvnet scan has written.",
    ),
    ("scan photos --out cat.png", 1, "StoreError: 'cat.png' is not a scan: it is a PNG picture. Choose another name."),
    (
        "plate a.scan --layer conv2 --channel 500",
        1,
        "UnitError: layer 'features.5' has no channel 500: it has 64, numbered from 0.",
    ),
    (
        "plate a.scan --layer conv2 --random 0",
        2,
        "Error: Invalid value for '--random': 0 is not in the range x>=1. See: deconvnet plate --help",
    ),
    (
        "plate a.scan --layer conv2 --model torchvision:alexnet --weights none",
        1,
        "StoreError: 'a.scan' was scanned with weights sha256:c53df679dfe6bf0a79abb0abeec9b0fa9e748971f6d58ab3bc0cd755d349c3eb, found random for torchvision:alexnet. Give the weights of the scan.",
    ),
    (
        "report nofile.scan",
        1,
        "StoreError: there is no scan at 'nofile.scan'. Make one: deconvnet scan PICTURES --out nofile.scan",
    ),
    ("atlas a.scan", 2, "Error: Missing option '--out' / '-o'. See: deconvnet atlas --help"),
    (
        "atlas a.scan --out photos",
        1,
        "OptionError: 'photos' has files in it and no atlas. Name another folder: nothing in this one was touched.",
    ),
    ("scan photos", 2, "Error: Missing option '--out' / '-o'. See: deconvnet scan --help"),
    ("scan nofolder --out b.scan", 1, "PictureError: cannot open 'nofolder': there is no such file or folder. Check the path."),
    (
        "scan bad --model tiny --layer conv1 --out bad.scan",
        1,
        "PictureError: none of the 2 pictures could be read. The first: cannot open '{folder}/bad/a.jpg': it is a text, which is not read as a picture. Convert it to PNG or JPEG.",
    ),
    (
        "scan photos --model torchvision:alexnet --weights none --out a.scan",
        1,
        'StoreError: \'a.scan\' was scanned with other settings: model "tiny", not "torchvision:alexnet". Give the same ones, or choose another name.',
    ),
    (
        "scan photos --model tiny --out nofolder/a.scan",
        1,
        "StoreError: cannot write 'nofolder/a.scan': there is no folder 'nofolder'. Make it first.",
    ),
    ("occlude nofile.jpg", 1, "PictureError: cannot open 'nofile.jpg': there is no such file. Check the path."),
    ("occlude cat.png cat.png", 2, "Error: Got unexpected extra argument (cat.png). See: deconvnet occlude --help"),
    (
        "occlude cat.png --label nosuchclass",
        1,
        "OptionError: tiny has no class 'nosuchclass'. It has face, cat, bird, fish, butterfly, flower, tree, house, car, bicycle, train, boat, clock, cup, letters, checks, stripes, dots.",
    ),
    ("occlude cat.png --square 500", 1, "OptionError: square cannot be 500: it is pixels, 1 to 96, the picture's short side."),
    (
        "correspond cat.png",
        1,
        'OptionError: cannot read boxes from \'cat.png\': it is a PNG picture. Write {"picture.jpg": {"part": [top, left, height, width]}}.',
    ),
    (
        "correspond nofile.json",
        1,
        "OptionError: cannot read boxes from 'nofile.json': No such file or directory. Check the path.",
    ),
    (
        "correspond --drawing dog",
        1,
        "OptionError: drawing cannot be 'dog': it is one of face, cat, bird, fish, butterfly, flower, tree, house, car, bicycle, train, boat, clock, cup, letters, checks, stripes, dots.",
    ),
    (
        "correspond --part beak",
        1,
        "OptionError: this face shows no 'beak'. It shows hair, head, left brow, left ear, left eye, mouth, nose, right brow, right ear, right eye.",
    ),
    (
        "evolve --model zfnet",
        1,
        "OptionError: zfnet comes without checkpoints. Give --weights FILE several times, or a folder.",
    ),
    ("evolve --weights empty", 1, "WeightsError: no checkpoints in 'empty'. Looked for .safetensors, .pt, .pth, .ckpt, .bin."),
    ("filters --bands 0.4", 2, "Error: Option '--bands' requires 2 arguments. See: deconvnet filters --help"),
    ("project --model", 2, "Error: Option '--model' requires an argument. See: deconvnet project --help"),
    (
        "filters --bands 1 2",
        1,
        "OptionError: bands cannot be (1.0, 2.0): they are two rising numbers of cycles per pixel, above 0 and below 0.5.",
    ),
    ("faithful --area 2", 1, "OptionError: area cannot be 2: it is the share of the window to cover, above 0 and below 1."),
    (
        "invariance --fill edgy",
        2,
        "Error: Invalid value for '--fill': 'edgy' is not mean|picture|black|white|edge, or a colour such as 0.5,0.5,0.5. See: deconvnet invariance --help",
    ),
    (
        "occlude cat.png --fill edge",
        2,
        "Error: Invalid value for '--fill': 'edge' is not mean|picture|black|white, or a colour such as 0.5,0.5,0.5. See: deconvnet occlude --help",
    ),
    ("invariance --label face --label cat", 1, "OptionError: labels must be one for each of the 5 pictures, found 2."),
    (
        "segment --ways swich",
        1,
        "OptionError: unpooling cannot be 'swich': it is one of switch, fixed, nearest. Did you mean 'switch'?",
    ),
    ("samples --out cat.png", 1, "OptionError: cannot make the folder 'cat.png': File exists. Choose another place."),
    (
        "project cat.png --percentile 0",
        2,
        "Error: Invalid value for '--percentile': 0.0 is not in the range 0<x<=100. See: deconvnet project --help",
    ),
    (
        "project cat.png --limit 0",
        2,
        "Error: Invalid value for '--limit': 0 is not in the range x>=1. See: deconvnet project --help",
    ),
    (
        "project cat.png --channel tabby --layer conv3",
        1,
        "OptionError: channels of layer 'features.9' have no names, and 'tabby' is one. Take --layer classifier.5, or a number.",
    ),
    (
        "project cat.png --channel tabby",
        1,
        "OptionError: 'tabby' is neither channels, such as 3 or 1,4-6, nor a class of tiny. Give numbers or a class.",
    ),
    (
        "project cat.png --inpt x=y.npy",
        2,
        "Error: No such option '--inpt'. (Did you mean one of: '--input', '--quiet', '--silent'?) See: deconvnet project --help",
    ),
    (
        "project cat.png --input meta",
        2,
        "Error: Invalid value for '--input': 'meta' is not a name and a file, such as meta=vector.npy. See: deconvnet project --help",
    ),
    ('project "cat.png "', 1, "PictureError: cannot open 'cat.png ': there is no such file or folder. Did you mean 'cat.png'?"),
    (
        "project cat.png cat2.png",
        1,
        "PictureError: cannot open 'cat2.png': there is no such file or folder. Did you mean 'cat.png'?",
    ),
    ("project cta.png", 1, "PictureError: cannot open 'cta.png': there is no such file or folder. Did you mean 'cat.png'?"),
    ("project phtos", 1, "PictureError: cannot open 'phtos': there is no such file or folder. Did you mean 'photos'?"),
    ("project cat.png photos --out x.png", 1, "OptionError: 2 pictures cannot go into one file. Give a folder: --out sheets/"),
    (
        "project cat.png --lyer conv3",
        2,
        "Error: No such option '--lyer'. (Did you mean one of: '--layer', '--lrn', '--tile'?) See: deconvnet project --help",
    ),
    ("layers tiny --csv --json", 1, "OptionError: --json and --csv exclude each other. Give one of them."),
    (
        "plate a.scan --layer conv2 --channel 1 --best 2",
        1,
        "OptionError: --channel, --random and --best exclude each other. Give one of them.",
    ),
    ("plate a.scan --layer conv2 --scale 2 --dpi 300", 1, "OptionError: --scale and --dpi say the same. Give one of them."),
    ("top a.scan -l conv2 -c 1 --json --csv", 1, "OptionError: --json and --csv exclude each other. Give one of them."),
    (
        "scan sample:cat --out s.scan",
        1,
        "PictureError: a scan reads files, and 'sample:cat' is none. Write the samples to a folder, and scan that: deconvnet samples --out samples",
    ),
    (
        "samples --json list.txt",
        2,
        "Error: Invalid value for '--json': 'list.txt' does not end in .json. For stdout, write --json as the last option, or --json=-. See: deconvnet samples --help",
    ),
    ("project sample:katze", 1, "PictureError: 'sample:katze' is not a sample. See: deconvnet samples"),
    (
        "project cat.png --layer conv3 --at 3",
        2,
        "Error: Invalid value for '--at': '3' is not max, map, or a position such as 6,6. See: deconvnet project --help",
    ),
    (
        "evolve --weights nofile.pt",
        1,
        "WeightsError: no checkpoint at 'nofile.pt'. Give a weights file, or a folder of them.",
    ),
    (
        "evolve cat.png --drawings 10",
        2,
        "Error: --drawings is for a search without pictures: leave it out, or the pictures. See: deconvnet evolve --help",
    ),
    (
        "correspond boxes.json --drawing cat",
        2,
        "Error: --drawing, --part and --count choose drawings: leave them out, or BOXES.json. See: deconvnet correspond --help",
    ),
    ("evolve --weights none", 1, "WeightsError: no checkpoint at 'none'. Give a weights file, or a folder of them."),
    (
        "report a.scan --rare 2",
        2,
        "Error: Invalid value for '--rare': 2.0 is not in the range 0<=x<=1. See: deconvnet report --help",
    ),
    (
        "report a.scan --out x.gif",
        1,
        "OptionError: cannot save 'x.gif': the suffix is '.gif'. Use one of .png, .jpg, .jpeg, .pdf.",
    ),
    (
        "atlas a.scan --out site --tile 2",
        2,
        "Error: Invalid value for '--tile': 2 is not in the range 8<=x<=512. See: deconvnet atlas --help",
    ),
    ("atlas a.scan --out cat.png", 1, "OptionError: cannot write an atlas to 'cat.png': it is a file. Name a folder."),
    (
        "scan https://example.org/photos --out c.scan",
        1,
        "PictureError: cannot list 'https://example.org/photos': a scan reads folders, s3:// and gs://. Download the pictures to a folder.",
    ),
    (
        "project cat.png --model zfnet",
        1,
        "WeightsError: zfnet has no weights of its own. Give --weights FILE, or --weights none for random ones.",
    ),
    (
        "layers file:net.py:make",
        1,
        "UnknownModelError: make() in 'net.py' returned an object of type NoneType. Return a net, or a net and its preprocessing.",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what people have: pictures, a scan, and files of other kinds under hopeful names."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("photos", "empty", "bad"):
        (folder / name).mkdir()
    draw("cat", seed=1).picture.save(folder / "cat.png")
    draw("cat", seed=2).picture.save(folder / "photos" / "a.png")
    for name in ("bad/a.jpg", "bad/b.png", "text.jpg"):
        (folder / name).write_text("text")
    (folder / "bad.pt").write_text('{"a": 1}')
    (folder / "broken.py").write_text("def make(:\n")
    (folder / "net.py").write_text("def make():\n    pass\n")
    return folder


@pytest.fixture
def type_line(run, folder, monkeypatch):
    """Run a line in the folder; return (exit code, what was printed to stderr)."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", "/home/you")
    if not Path("a.scan").exists():
        assert run("scan", "photos", "--layer", "conv2", "--layer", "conv5", "--out", "a.scan")[0] == 0

    def call(line):
        code, out, err = run(*shlex.split(line))
        assert out == ""
        return code, err.replace(str(folder), "{folder}")

    return call


@pytest.mark.parametrize(("line", "code", "answer"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_each_mistake_gets_one_true_line(type_line, line, code, answer):
    """The whole text, and no other line beside it."""
    found, text = type_line(line)
    pattern = ".*".join(map(re.escape, answer.split("…")))
    assert re.fullmatch(pattern, text.rstrip("\n")), text
    assert found == code


def test_moved_pictures_are_missed_with_what_to_do(type_line):
    """A plate of pictures that were moved says where they were looked for; --root finds them."""
    Path("photos").rename("moved")
    try:
        line = "plate a.scan --layer conv2 --channel 1 --out p.png"
        was = "PictureError: the pictures of 'a.scan' were in '{folder}/photos', which is not there."
        assert type_line(line) == (1, f"{was} Say where they are now: --root FOLDER.\n")
        there = "PictureError: there is no folder 'nowhere' with the pictures of 'a.scan'. Check --root.\n"
        assert type_line(f"{line} --root nowhere") == (1, there)
    finally:
        Path("moved").rename("photos")


def test_there_are_many():
    """Seventy kinds at least."""
    assert len(MISTAKES) >= 70
