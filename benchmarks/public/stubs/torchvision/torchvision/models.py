"""Small networks under the names of large ones."""

from torch import nn


def resnet18(*_, num_classes=1000, **__):
    model = nn.Sequential()
    model.conv1, model.bn1, model.relu = nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU()
    model.avgpool, model.flat, model.fc = nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(64, num_classes)
    return model


resnet34 = resnet50 = resnet152 = resnet18
# torchmetrics imports these.
vgg16, VGG16_Weights = resnet18, None
