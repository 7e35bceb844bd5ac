"""The whole thing on a real node: controller-manager, scheduler, kubelet, containerd, our images, our chart."""
